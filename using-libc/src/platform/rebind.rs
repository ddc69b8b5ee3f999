//! Words of native objects that refer to what is elsewhere than libc knows: native data of which the program has a copy (COPY), and
//! the program's thread-local variables (`offer`).
//! ld.so has bound libc and what is preloaded before the program is known,
//! and so to the originals. Once the native libraries are bound, too, the program's copies get the contents of the originals, and
//! each word that ld.so has written for a symbol at the address of an original gets that of the copy. glibc does it before their
//! constructors run (DT_PREINIT_ARRAY of the object that needs them), musl when they have run.
//!
//! # Safety
//! This file exists because objects that ld.so has mapped are read and written by address.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::base::addr::{LoadBias, RuntimeAddr, from_usize, to_usize};
use rtld::elf::plan::Protection;
use rtld::elf::{Decode, Dyn, Phdr, Rela, Sym, consts, r_sym, r_type, st_bind, st_visibility};
use rtld::error::{Error, OfObject, Problem};
use rtld::machine::{Machine, Native, RelocKind};
use rtld::native::needs::NativeCopy;
use rtld::native::template::Export;
use rtld::os::seam::Image;
use rtld::os::sys;

use crate::cpu::room_distance;
use crate::run::native::libc;
use crate::run::open::phdr_info::PhdrInfo;
use crate::run::process::Process;
use crate::system;

/// The address of each copy's original, in the order of the copies; null before they are copied.
static COPIED: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());

/// Copies, and has all native objects use the copies. `original` is the address of each copy's original, 0 if there is none.
///
/// # Errors
/// A copy has no original.
///
/// # Safety
/// At `originals` is room for a word for each copy, which stays.
pub(crate) unsafe fn copy(
    process: &'static Process,
    original: impl Fn(usize) -> u64,
    originals: *mut u64,
) -> Result<(), Error<'static>> {
    for (index, copy) in process.sealed.natives.copies.iter().enumerate() {
        let original = original(index);
        if original == 0 {
            let version = copy.version.map_or(&b""[..], |version| version.version);
            let problem = Problem::NativeSymbol { symbol: copy.name, version };
            return Err(problem).of(process.sealed.namespace.module(copy.module).path);
        }
        // SAFETY: by the caller.
        unsafe { originals.add(index).write(original) };
        let mut size = Size { original, size: copy.size };
        libc::iterate_phdr(bound_size as *const () as usize, (&raw mut size).expose_provenance());
        let from: *const u8 = ptr::with_exposed_provenance(to_usize(original));
        let to: *mut u8 = ptr::with_exposed_provenance_mut(to_usize(place(process, copy)));
        // SAFETY: the original is that long, or at least the segment that it is in; the copy is, and the caller has unsealed it.
        unsafe { ptr::copy(from, to, to_usize(size.size)) };
    }
    COPIED.store(originals, Ordering::Release);
    use_copies();
    system::replace_found(|address| moved(process, from_usize(address)).map(to_usize));
    Ok(())
}

/// Has native objects use the program's copies, those that have come since the last time included.
pub(crate) fn use_copies() {
    if !COPIED.load(Ordering::Acquire).is_null() || room().is_some() {
        libc::iterate_phdr(rebind as *const () as usize, 0);
    }
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

/// An object that is looked for, and its load bias.
struct Sought {
    hook: u64,
    bias: Option<LoadBias>,
}

/// Load bias of the object that has that function in its DT_PREINIT_ARRAY.
pub(crate) fn bias_of(hook: extern "C" fn()) -> Option<LoadBias> {
    let mut sought = Sought { hook: RuntimeAddr::of(hook as *const ()).0, bias: None };
    libc::iterate_phdr(has_hook as *const () as usize, (&raw mut sought).expose_provenance());
    sought.bias
}

extern "C" fn has_hook(info: *const PhdrInfo, _: usize, sought: usize) -> i32 {
    // SAFETY: libc's argument, and this program's own.
    let (object, sought) =
        unsafe { (NativeObject::of(info), &mut *ptr::with_exposed_provenance_mut::<Sought>(sought)) };
    let array = object.address(consts::DT_PREINIT_ARRAY);
    // SAFETY: the object's own array.
    if array == 0 || unsafe { load::<u64>(array) } != sought.hook {
        return 0;
    }
    sought.bias = Some(LoadBias(object.bias));
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

/// The program's exported thread-local variables, by what libc knows of them (`offer`).
pub(crate) struct OfferedStorage {
    /// Number of the module that they are bound to.
    pub(crate) module: u64,
    /// Distance of that module's storage from the thread pointer; `None` where it has none.
    pub(crate) offset: Option<u64>,
    /// The exports; `at` of a thread-local one is its offset in this executable's room.
    pub(crate) exports: &'static [Export<'static>],
}

pub(crate) static ROOM: AtomicPtr<OfferedStorage> = AtomicPtr::new(ptr::null_mut());

/// Number of the executable's module in libc's world (`__tls_get_addr`).
const EXECUTABLE: u64 = 1;

/// Writes the copies' addresses, and the places of the program's thread-local variables, into an object's words.
extern "C" fn rebind(info: *const PhdrInfo, _: usize, _: usize) -> i32 {
    // SAFETY: libc's argument.
    let object = unsafe { NativeObject::of(info) };
    let Some(process) = Process::get() else { return 0 };
    let symbols = object.address(consts::DT_SYMTAB);
    let mut relro = None;
    for (table, size) in [(consts::DT_RELA, consts::DT_RELASZ), (consts::DT_JMPREL, consts::DT_PLTRELSZ)] {
        let (table, size) = (object.address(table), object.dynamic(size));
        let entry = from_usize(<Rela as Decode>::SIZE);
        for index in 0..if table == 0 || symbols == 0 { 0 } else { size.checked_div(entry).unwrap_or(0) } {
            // SAFETY: an entry of the object's table.
            let rela: Rela = unsafe { load(table.wrapping_add(index.wrapping_mul(entry))) };
            if r_sym(&rela) == 0 {
                continue;
            }
            let Some((at, value)) = instead(process, &object, &rela, symbols) else { continue };
            if relro.is_none() {
                relro = unseal(process, &object);
            }
            let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(at));
            // SAFETY: a word that ld.so has relocated, writable now.
            unsafe { place.write_unaligned(value) };
        }
    }
    if let Some(relro) = relro {
        // SAFETY: as ld.so has protected it.
        let _ = unsafe { sys::protect(relro, Protection::READ) };
    }
    0
}

/// The word that a relocation has written and that is to have another value, and the value.
fn instead(process: &Process, object: &NativeObject, rela: &Rela, symbols: u64) -> Option<(u64, u64)> {
    let at = object.bias.wrapping_add(rela.r_offset);
    let addend = rela.r_addend.cast_unsigned();
    let kind = Native::kind(r_type(rela))?;
    // Of a relocation in a segment that is not writable nothing is known.
    let is_word = || object.segment(at).is_some_and(|segment| segment.p_flags & consts::PF_W != 0);
    // SAFETY: a word that ld.so has relocated.
    let word = |at: u64| unsafe { load::<u64>(at) };
    let symbol = || {
        let index = u64::from(r_sym(rela)).wrapping_mul(from_usize(<Sym as Decode>::SIZE));
        // SAFETY: the symbol of a relocation.
        unsafe { load::<Sym>(symbols.wrapping_add(index)) }
    };
    match kind {
        RelocKind::Absolute | RelocKind::GlobDat if is_word() => {
            let addend = if kind == RelocKind::Absolute { addend } else { 0 };
            let copy = moved(process, word(at).wrapping_sub(addend))?;
            let symbol = symbol();
            // What an object keeps to itself, the program's copy does not replace there.
            let own = st_bind(&symbol) == consts::STB_LOCAL || st_visibility(&symbol) != consts::STV_DEFAULT;
            (!own).then(|| (at, copy.wrapping_add(addend)))
        }
        RelocKind::DtpModule if is_word() => (word(at) == room()?.module).then_some((at, EXECUTABLE)),
        RelocKind::TpOffset | RelocKind::TlsDescriptor if is_word() => {
            let room = room()?;
            // A descriptor's second word is what the first, a function, needs to know.
            let at = if kind == RelocKind::TpOffset { at } else { at.wrapping_add(8) };
            let strings = object.address(consts::DT_STRTAB);
            // SAFETY: the symbol's name.
            let name = unsafe { text(strings.wrapping_add(symbol().st_name.into())) };
            let is = |export: &&Export<'_>| export.st_info & 0xf == consts::STT_TLS && export.name == name;
            let offset = room.exports.iter().find(is)?.at.0.wrapping_add(addend);
            let Some(distance) = room.offset else {
                // musl's descriptor leads to the number of the module and the offset there.
                let module = word(at);
                return (kind == RelocKind::TlsDescriptor && word(module) == room.module)
                    .then_some((module, EXECUTABLE));
            };
            let place = offset.wrapping_add(room_distance().cast_unsigned());
            (word(at) == offset.wrapping_add(distance)).then_some((at, place))
        }
        _ => None,
    }
}

fn room() -> Option<&'static OfferedStorage> {
    // SAFETY: null, or put into an arena that stays.
    unsafe { ROOM.load(Ordering::Acquire).as_ref() }
}

/// A string at an address.
///
/// # Safety
/// It is there.
unsafe fn text(address: u64) -> &'static [u8] {
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(ptr::with_exposed_provenance(to_usize(address))) }.to_bytes()
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
