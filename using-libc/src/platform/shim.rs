//! Shared objects that this program makes for libc's dlopen: only tables, without code, and without a file on disk.
//!
//! They are written by the builder of the loader's template, so libc's own rules bind the program's needs: link order,
//! search paths, versions, thread-local storage.
//!
//! # Safety
//! This file exists because a whole object is written into fresh memory, and found again where libc has mapped it.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int};
use core::ptr::{self, NonNull};

use rtld::base::addr::{LoadBias, RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory, Source};
use rtld::base::text::{DIGITS, decimal};
use rtld::elf::dynamic::DynamicInfo;
use rtld::elf::plan::{LoadPlan, Origin, Place, PlanRoom};
use rtld::elf::symbol;
use rtld::elf::{Ehdr, Phdr, consts, size};
use rtld::error::{Failure, Problem};
use rtld::machine::{Machine, Native};
use rtld::native::template::{Recipe, Template};
use rtld::os::mapped::MappedImage;
use rtld::os::sys;

use crate::run::native::libc;
use crate::run::sync::{self, without_size_signal};
use crate::system;

/// An object in the memory in which it was written.
pub(crate) struct Made {
    memory: NonNull<[u8]>,
    /// The plan of its segments.
    pub(crate) plan: LoadPlan<'static>,
    /// Address and number of its program headers.
    pub(crate) phdrs: (Vaddr, u16),
    /// Its decoded PT_DYNAMIC.
    pub(crate) dynamic: DynamicInfo,
}

/// Size in bytes of the smallest object, and the limit of all sizes.
const SIZES: (usize, usize) = (64 << 10, 1 << 30);

/// Parts of an object without needs and bindings, to be completed for `build`.
pub(crate) fn nothing<'p>(load: &'p [Phdr], bias: LoadBias, words: RuntimeAddr) -> Recipe<'p, 'static> {
    Recipe {
        bias,
        phdrs: load,
        // Only the kernel reads PT_INTERP, and it does not see these objects.
        interpreter: "",
        libraries: &[],
        extra_libraries: &[],
        search: None,
        imports: &[],
        bindings: &[],
        targets: words,
        loader_imports: &[],
        loader_targets: words,
        exports: &[],
        tls: None,
        hook: RuntimeAddr::of(no_hook as *const ()),
    }
}

/// An empty function: glibc calls DT_PREINIT_ARRAY of opened objects, too.
extern "C" fn no_hook() {}

/// Writes an object; its plan lies in `plans`. `build` gets an arena inside the object, the object's PT_LOAD, and its load bias in the memory in
/// which it is written.
pub(crate) fn make(
    plans: &'static Arena,
    build: impl Fn(&'static Arena, &[Phdr], LoadBias) -> Result<Template<'static>, OutOfMemory>,
) -> Result<Made, Failure<'static>> {
    let (mut size, limit) = SIZES;
    loop {
        let memory = sys::anonymous(size).ok_or(OutOfMemory(size))?;
        let start = memory.cast::<u8>();
        let bias = LoadBias(RuntimeAddr::of(start.as_ptr()).0);
        let flags = consts::PF_R | consts::PF_W;
        let whole = from_usize(size);
        let load = Phdr {
            p_type: consts::PT_LOAD,
            p_flags: flags,
            p_offset: 0,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: whole,
            p_memsz: whole,
            p_align: Native::LARGEST_PAGE.bytes(),
        };
        // SAFETY: more than the size of the header was just mapped.
        let rest = unsafe { start.add(size::EHDR) };
        let rest = NonNull::slice_from_raw_parts(rest, size.saturating_sub(size::EHDR));
        // SAFETY: fresh memory, which is kept as long as the object.
        let arena = unsafe { Arena::in_memory(rest, Source::keeping(|_| None)) };
        let arena = arena.ok_or(OutOfMemory(size))?;
        let built = build(arena, &[load], bias)
            .and_then(|template| Ok((template, (arena.slice(SECTIONS, [0u64; 8])?, arena.copy(NAMES)?))));
        match built {
            Ok((template, sections)) => return finish(plans, memory, bias, &template, sections),
            Err(_) if size < limit => {
                // SAFETY: nothing of it was kept.
                unsafe { sys::give_back(memory) };
                size = size.saturating_mul(4);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Number of sections: none, symbols, strings, dynamic section, names.
const SECTIONS: usize = 5;

/// Names of the sections, and the offset of each.
static NAMES: &[u8] = b"\0.dynsym\0.dynstr\0.dynamic\0.shstrtab\0";
const NAMES_AT: [u64; 4] = [1, 9, 17, 26];

/// Writes section headers. No loader reads them, but tools in other processes do, and give up without them (ltrace).
/// `names` is the address of [`NAMES`].
fn name_sections(
    sections: &mut [[u64; 8]],
    image: &MappedImage,
    dynamic: &DynamicInfo,
    place: Place,
    names: Vaddr,
) -> Result<(), Failure<'static>> {
    /// The section is in memory (`SHF_ALLOC`).
    const ALLOC: u64 = 2;
    let (strings, symbols) = (dynamic.strings.place(), dynamic.symbols.vaddr(0).unwrap_or_default());
    let symbols_size = u64::from(symbol::count(image, dynamic)?).wrapping_mul(from_usize(size::SYM));
    let [dynsym, dynstr, section_dynamic, shstrtab] = NAMES_AT;
    let kinds = [consts::SHT_DYNSYM, consts::SHT_STRTAB, consts::SHT_DYNAMIC, consts::SHT_STRTAB].map(u64::from);
    let [dynsym_kind, strtab_kind, dynamic_kind, names_kind] = kinds;
    // Name and type; flags; address; offset; size; link and info; alignment; size of an entry. Here, offsets are
    // addresses.
    let section = |name: u64, kind: u64, at: Vaddr, size: u64, link: u64, entry: usize| {
        [name | kind << 32, ALLOC, at.0, at.0, size, link, 8, from_usize(entry)]
    };
    let all = [
        [0; 8],
        // One local symbol, the empty one.
        section(dynsym, dynsym_kind, symbols, symbols_size, 2 | 1 << 32, size::SYM),
        section(dynstr, strtab_kind, strings.vaddr, strings.size, 0, 0),
        section(section_dynamic, dynamic_kind, place.vaddr, place.size, 2, size::DYN),
        section(shstrtab, names_kind, names, from_usize(NAMES.len()), 0, 0),
    ];
    for (place, section) in sections.iter_mut().zip(all) {
        *place = section;
    }
    Ok(())
}

/// Writes the ELF header, and decodes the tables for use in this program.
fn finish(
    plans: &'static Arena,
    memory: NonNull<[u8]>,
    bias: LoadBias,
    template: &Template<'static>,
    (sections, names): (&mut [[u64; 8]], &[u8]),
) -> Result<Made, Failure<'static>> {
    let mut room = PlanRoom::new();
    let plan = LoadPlan::new(template.headers(), Origin::Kernel, Native::LARGEST_PAGE, &mut room)?.keep(plans)?;
    let (phdr, count) = (bias.vaddr(template.phdr_address()), template.phdr_count());
    let count = u16::try_from(count).map_err(|_| OutOfMemory(memory.len()))?;
    let mut ident = *b"\x7fELF\0\0\0\0\0\0\0\0\0\0\0\0";
    for (place, value) in ident.iter_mut().skip(4).zip([Native::CLASS, consts::ELFDATA2LSB, consts::EV_CURRENT]) {
        *place = value;
    }
    let header = Ehdr {
        e_ident: ident,
        e_type: consts::ET_DYN,
        e_machine: Native::E_MACHINE,
        e_version: consts::EV_CURRENT.into(),
        e_entry: 0,
        e_phoff: phdr.0,
        e_shoff: bias.vaddr(RuntimeAddr::of(sections.as_ptr())).0,
        e_flags: 0,
        e_ehsize: u16::try_from(size::EHDR).unwrap_or(0),
        e_phentsize: u16::try_from(size::PHDR).unwrap_or(0),
        e_phnum: count,
        e_shentsize: u16::try_from(size_of::<[u64; 8]>()).unwrap_or(0),
        e_shnum: u16::try_from(SECTIONS).unwrap_or(0),
        // The last.
        e_shstrndx: u16::try_from(SECTIONS.saturating_sub(1)).unwrap_or(0),
    };
    // SAFETY: room for it was left, aligned to a page; `Ehdr` has no padding.
    unsafe { memory.cast::<Ehdr>().write(header) };
    let place = plan.dynamic.ok_or(Problem::NoDynamic)?;
    // SAFETY: all of it is written; from here on it is only read.
    let image = unsafe { MappedImage::adopt(memory.cast(), plan, false) };
    let dynamic = DynamicInfo::decode(&image, place)?;
    name_sections(sections, &image, &dynamic, place, bias.vaddr(RuntimeAddr::of(names.as_ptr())))?;
    Ok(Made { memory, plan, phdrs: (phdr, count), dynamic })
}

impl Made {
    /// The object as it was written, to be used in place.
    pub(crate) fn image(self) -> MappedImage {
        // SAFETY: all of it is written, in memory that is kept.
        unsafe { MappedImage::adopt(self.memory.cast(), self.plan, false) }
    }

    /// Link-time address of a word of the object.
    pub(crate) fn vaddr(&self, word: RuntimeAddr) -> u64 {
        word.0.wrapping_sub(RuntimeAddr::of(self.memory.cast::<u8>().as_ptr()).0)
    }

    /// Has libc open the object, with its symbols in the global scope; returns libc's handle, and the load bias. `None` if libc
    /// fails; dlerror has the reason.
    ///
    /// libc identifies open objects by their path. The number of the descriptor will later be that of other files, so
    /// `descriptors`, the directory of descriptors, is spelled differently for each object. The path contains the id of
    /// the process, for tools in other processes.
    pub(crate) fn open(
        &self,
        name: &CStr,
        descriptors: &[u8],
    ) -> Result<Option<(usize, LoadBias)>, Failure<'static>> {
        // SAFETY: the whole object, which nothing writes to now.
        let bytes = unsafe { self.memory.as_ref() };
        let file = without_size_signal(|| sys::memory_file(name, bytes)).map_err(Problem::Map)?;
        let (mut process, mut number) = ([0u8; DIGITS], [0u8; DIGITS]);
        let (process, number) = (decimal(sync::process_id(), &mut process), decimal(file.number(), &mut number));
        let parts = [b"/proc/", process, descriptors, number];
        let mut path = [0u8; 64];
        for (place, byte) in path.iter_mut().zip(parts.iter().flat_map(|part| part.iter())) {
            *place = *byte;
        }
        let handle = libc::open(path.as_ptr().cast(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
        Ok(bias(handle).map(|bias| (handle, bias)))
    }

    /// Gives back the memory in which the object was written.
    pub(crate) fn forget(self) {
        // SAFETY: libc has a mapping of its own, and nothing here refers to this one.
        unsafe { sys::give_back(self.memory) };
    }

    /// Distance between the memory in which the object was written and libc's mapping of it.
    pub(crate) fn moved(&self, to: LoadBias) -> u64 {
        to.0.wrapping_sub(RuntimeAddr::of(self.memory.cast::<u8>().as_ptr()).0)
    }
}

/// Load bias of an object that libc has opened.
fn bias(handle: usize) -> Option<LoadBias> {
    const RTLD_DI_LINKMAP: c_int = 2;
    /// The first field of `struct link_map` (<link.h>).
    #[repr(C)]
    struct LinkMap {
        bias: usize,
        _name: *const c_char,
    }
    if handle == 0 {
        return None;
    }
    let mut map: *const LinkMap = ptr::null();
    // SAFETY: a handle of dlopen's, and room for the answer.
    let result = unsafe {
        system::dlinfo(ptr::with_exposed_provenance_mut(handle), RTLD_DI_LINKMAP, (&raw mut map).cast())
    };
    // SAFETY: libc's structure, which exists as long as the object is open; it is never closed.
    (result == 0).then(|| LoadBias(from_usize(unsafe { (*map).bias })))
}

/// A word of an object that libc has mapped.
///
/// # Safety
/// The object has a word at that link-time address.
pub(crate) unsafe fn word(bias: LoadBias, vaddr: u64) -> *mut u64 {
    ptr::with_exposed_provenance_mut(to_usize(bias.0.wrapping_add(vaddr)))
}
