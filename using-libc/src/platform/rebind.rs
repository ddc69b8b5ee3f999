//! Native data of which the program has a copy (COPY). ld.so has bound libc and what is preloaded before the program is known,
//! and so to the originals. Once the native libraries are bound, too, the program's copies get the contents of the originals, and
//! each word that ld.so has written for a symbol at the address of an original gets that of the copy. glibc does it before their
//! constructors run (DT_PREINIT_ARRAY of the object that needs them), musl when they have run.
//!
//! # Safety
//! This file exists because objects that ld.so has mapped are read and written by address.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::elf::plan::Protection;
use rtld::elf::{Decode, Dyn, Phdr, Rela, Sym, consts, r_sym, r_type, st_bind, st_visibility};
use rtld::error::{Error, OfObject, Problem};
use rtld::machine::{Machine, Native, RelocKind};
use rtld::native::needs::NativeCopy;
use rtld::os::seam::Image;
use rtld::os::sys;

use crate::run::native::libc;
use crate::run::open::phdr_info::PhdrInfo;
use crate::run::process::Process;
use crate::system;

/// The originals' addresses: link-time address of a word for each copy, in the object that needs the native libraries. 0 where
/// nothing is to be copied, or has been.
static ORIGINALS: AtomicU64 = AtomicU64::new(0);

/// The address of each copy's original, in the order of the copies; null before they are copied.
static COPIED: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());

/// Remembers where ld.so will write the originals' addresses, for [`copy`].
pub(crate) fn copy_from(originals: u64, room: &'static mut [u64]) {
    ORIGINALS.store(originals, Ordering::Relaxed);
    PLACES.store(room.as_mut_ptr(), Ordering::Relaxed);
}

/// Room for [`COPIED`].
static PLACES: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());

/// Copies, once, and has all native objects use the copies. The function in DT_PREINIT_ARRAY of the object that needs the native
/// libraries.
pub(crate) extern "C" fn copy() {
    let Some(process) = Process::get() else { return };
    let copies = &process.sealed.natives.copies;
    if copies.is_empty() || ORIGINALS.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut found = FoundNeeds { bias: None };
    libc::iterate_phdr(find_needs as *const () as usize, (&raw mut found).expose_provenance());
    let (Some(bias), places) = (found.bias, PLACES.load(Ordering::Relaxed)) else { return };
    let words = bias.wrapping_add(ORIGINALS.swap(0, Ordering::Relaxed));
    for (index, copy) in copies.iter().enumerate() {
        // SAFETY: a word for each copy, which ld.so has written.
        let original: u64 = unsafe { load(words.wrapping_add(from_usize(index).wrapping_mul(8))) };
        // SAFETY: room for a word for each copy.
        unsafe { places.add(index).write(original) };
        if original != 0 {
            let mut size = Size { original, size: copy.size };
            libc::iterate_phdr(bound_size as *const () as usize, (&raw mut size).expose_provenance());
            let from: *const u8 = ptr::with_exposed_provenance(to_usize(original));
            let to: *mut u8 = ptr::with_exposed_provenance_mut(to_usize(place(process, copy)));
            // SAFETY: the original is that long, or at least the segment that it is in; the copy is, and relocation has unsealed it.
            unsafe { ptr::copy(from, to, to_usize(size.size)) };
        }
    }
    COPIED.store(places, Ordering::Release);
    use_copies();
    let moved = |address: usize| moved(process, from_usize(address)).map(to_usize);
    system::replace_found(moved);
}

/// Has native objects use the program's copies, those that have come since the last time included.
pub(crate) fn use_copies() {
    if !COPIED.load(Ordering::Acquire).is_null() {
        libc::iterate_phdr(rebind as *const () as usize, 0);
    }
}

/// Checks that the original of each copy was found.
pub(crate) fn require_copied(process: &Process) -> Result<(), Error<'static>> {
    let copied = COPIED.load(Ordering::Acquire);
    for (index, copy) in process.sealed.natives.copies.iter().enumerate() {
        // SAFETY: a word for each copy.
        if copied.is_null() || unsafe { copied.add(index).read() } == 0 {
            let version = copy.version.map_or(&b""[..], |version| version.version);
            let problem = Problem::NativeSymbol { symbol: copy.name, version };
            return Err(problem).of(process.sealed.namespace.module(copy.module).path);
        }
    }
    Ok(())
}

/// Whether a copy is at an address.
pub(crate) fn is_copy(process: &Process, address: u64) -> bool {
    process.sealed.natives.copies.iter().any(|copy| place(process, copy) == address)
}

/// Address of the program's copy.
fn place(process: &Process, copy: &NativeCopy<'_>) -> u64 {
    process.sealed.namespace.module(copy.module).image.bias().runtime(copy.vaddr).0
}

/// Address of the copy of what is at an address, if that is an original.
fn moved(process: &Process, address: u64) -> Option<u64> {
    let copied = COPIED.load(Ordering::Acquire);
    // SAFETY: a word for each copy.
    let is = |index: usize| unsafe { copied.add(index).read() } == address;
    let copies = process.sealed.natives.copies.iter().enumerate();
    let mut copies = copies.filter(|(index, _)| address != 0 && !copied.is_null() && is(*index));
    copies.next().map(|(_, copy)| place(process, copy))
}

/// A structure at an address.
///
/// # Safety
/// It is there.
unsafe fn load<T: Decode>(address: u64) -> T {
    // SAFETY: by the caller.
    T::decode(unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(to_usize(address)), T::SIZE) })
}

/// An object in libc's list.
struct NativeObject {
    bias: u64,
    phdrs: u64,
    count: u64,
}

impl NativeObject {
    /// # Safety
    /// libc has called back with it.
    unsafe fn of(info: *const PhdrInfo) -> Self {
        // SAFETY: by the caller.
        let info = unsafe { &*info };
        Self { bias: from_usize(info.bias), phdrs: from_usize(info.phdrs), count: info.count.into() }
    }

    fn headers(&self) -> impl Iterator<Item = Phdr> {
        // SAFETY: the object's program headers, in memory that its owner keeps.
        (0..self.count).map(|index| unsafe {
            load(self.phdrs.wrapping_add(index.wrapping_mul(from_usize(<Phdr as Decode>::SIZE))))
        })
    }

    fn header(&self, kind: u32) -> Option<Phdr> {
        self.headers().find(|header| header.p_type == kind)
    }

    /// The value of an entry of its dynamic section; 0 if there is none.
    fn dynamic(&self, tag: u64) -> u64 {
        let Some(header) = self.header(consts::PT_DYNAMIC) else { return 0 };
        let start = self.bias.wrapping_add(header.p_vaddr);
        let entries = header.p_memsz.checked_div(from_usize(<Dyn as Decode>::SIZE)).unwrap_or(0);
        // SAFETY: the section, as its header has it.
        let entry = |index: u64| unsafe {
            load::<Dyn>(start.wrapping_add(index.wrapping_mul(from_usize(<Dyn as Decode>::SIZE))))
        };
        let mut entries = (0..entries).map(entry).take_while(|entry| entry.d_tag != consts::DT_NULL);
        entries.find(|entry| entry.d_tag == tag).map_or(0, |entry| entry.d_val)
    }

    /// The address in such an entry, which glibc has relocated, and musl has not.
    fn address(&self, tag: u64) -> u64 {
        let value = self.dynamic(tag);
        if value == 0 || value >= self.bias { value } else { value.wrapping_add(self.bias) }
    }

    /// The segment that contains an address.
    fn segment(&self, address: u64) -> Option<Phdr> {
        let vaddr = address.wrapping_sub(self.bias);
        let is = |header: &Phdr| vaddr.wrapping_sub(header.p_vaddr) < header.p_memsz;
        self.headers().find(|header| header.p_type == consts::PT_LOAD && is(header))
    }
}

struct FoundNeeds {
    bias: Option<u64>,
}

/// Finds the object that has [`copy`] in its DT_PREINIT_ARRAY.
extern "C" fn find_needs(info: *const PhdrInfo, _: usize, found: usize) -> i32 {
    // SAFETY: libc's argument.
    let object = unsafe { NativeObject::of(info) };
    let array = object.address(consts::DT_PREINIT_ARRAY);
    // SAFETY: the object's own array.
    if array == 0 || unsafe { load::<u64>(array) } != RuntimeAddr::of(copy as *const ()).0 {
        return 0;
    }
    // SAFETY: this program's own argument.
    unsafe { (*ptr::with_exposed_provenance_mut::<FoundNeeds>(found)).bias = Some(object.bias) };
    1
}

struct Size {
    original: u64,
    size: u64,
}

/// Ends an original's size where its segment ends: the program may be linked with a library in which it is larger.
extern "C" fn bound_size(info: *const PhdrInfo, _: usize, size: usize) -> i32 {
    // SAFETY: libc's argument, and this program's own.
    let (object, size) = unsafe { (NativeObject::of(info), &mut *ptr::with_exposed_provenance_mut::<Size>(size)) };
    let Some(segment) = object.segment(size.original) else { return 0 };
    let end = object.bias.wrapping_add(segment.p_vaddr).wrapping_add(segment.p_memsz);
    size.size = size.size.min(end.wrapping_sub(size.original));
    1
}

/// Writes the copies' addresses into an object's words.
extern "C" fn rebind(info: *const PhdrInfo, _: usize, _: usize) -> i32 {
    // SAFETY: libc's argument.
    let object = unsafe { NativeObject::of(info) };
    let Some(process) = Process::get() else { return 0 };
    let (tables, symbols) = (
        [(consts::DT_RELA, consts::DT_RELASZ), (consts::DT_JMPREL, consts::DT_PLTRELSZ)],
        object.address(consts::DT_SYMTAB),
    );
    let mut relro = None;
    for (table, size) in tables.map(|(table, size)| (object.address(table), object.dynamic(size))) {
        let entry = from_usize(<Rela as Decode>::SIZE);
        for index in 0..if table == 0 || symbols == 0 { 0 } else { size.checked_div(entry).unwrap_or(0) } {
            // SAFETY: an entry of the object's table.
            let rela: Rela = unsafe { load(table.wrapping_add(index.wrapping_mul(entry))) };
            let addend = match Native::kind(r_type(&rela)) {
                Some(RelocKind::Absolute) => rela.r_addend.cast_unsigned(),
                Some(RelocKind::GlobDat) => 0,
                _ => continue,
            };
            let at = object.bias.wrapping_add(rela.r_offset);
            if r_sym(&rela) == 0 || object.segment(at).is_none_or(|segment| segment.p_flags & consts::PF_W == 0) {
                continue;
            }
            let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(at));
            // SAFETY: a word that ld.so has relocated.
            let address = unsafe { place.read_unaligned() }.wrapping_sub(addend);
            let Some(copy) = moved(process, address) else { continue };
            let symbol =
                symbols.wrapping_add(u64::from(r_sym(&rela)).wrapping_mul(from_usize(<Sym as Decode>::SIZE)));
            // SAFETY: the symbol of a relocation.
            let symbol: Sym = unsafe { load(symbol) };
            // What an object keeps to itself, the program's copy does not replace there.
            if st_bind(&symbol) == consts::STB_LOCAL || st_visibility(&symbol) != consts::STV_DEFAULT {
                continue;
            }
            if relro.is_none() {
                relro = unseal(process, &object);
            }
            // SAFETY: writable now.
            unsafe { place.write_unaligned(copy.wrapping_add(addend)) };
        }
    }
    if let Some(relro) = relro {
        // SAFETY: as ld.so has protected it.
        let _ = unsafe { sys::protect(relro, Protection::READ) };
    }
    0
}

/// Makes an object's RELRO writable, if it has some that ld.so has sealed.
fn unseal(process: &Process, object: &NativeObject) -> Option<NonNull<[u8]>> {
    let relro = object.header(consts::PT_GNU_RELRO)?;
    let (start, page) = (object.bias.wrapping_add(relro.p_vaddr), process.page);
    let (start, end) = (page.floor(start), page.floor(start.wrapping_add(relro.p_memsz)));
    let start_of = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(to_usize(start)))?;
    let pages = NonNull::slice_from_raw_parts(start_of, to_usize(end.checked_sub(start)?));
    // SAFETY: pages of the object, which only this thread writes to now.
    unsafe { sys::protect(pages, Protection::READ_WRITE) }.is_ok().then_some(pages)
}
