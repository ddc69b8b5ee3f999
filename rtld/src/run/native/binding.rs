//! The words in program and libraries that refer to native symbols, and the tables of the symbols' addresses.
//!
//! ld.so fills a table of the loader's, [`ADDRESSES`]. When libc is published to all threads, those addresses replace
//! the stubs in the words, and any stub that is still called jumps through [`TARGETS`]. The tables are read-only from then
//! on, and the pointers to them, which are among the loader's relocated data, from the program's entry on.
//!
//! # Safety
//! This file exists because those words are written by address, and the tables are found through pointers. The tables
//! are made once, before anything of the program runs.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use libc_template::LOADER_IMPORTS;
use rtld::base::addr::{PageSize, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::elf::consts;
use rtld::elf::plan::Protection;
use rtld::error::{Errno, Error, Problem};
use rtld::link::sealed::protect_relro;
use rtld::native::needs::Import;
use rtld::os::seam::Image;
use rtld::os::sys::{self, Linux};

use crate::run::last_words::refuse;
use crate::run::native::libc::LOADER_TARGETS;
use crate::run::process::Process;

/// The address of each import, as ld.so has bound it. Copied to [`TARGETS`] when libc is published.
#[cfg_attr(not(using_libc), unsafe(link_section = ".data.rel.ro.tables"))]
pub(crate) static ADDRESSES: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// The address to which each import's stub jumps; 0 until libc is published to all threads.
#[cfg_attr(not(using_libc), unsafe(link_section = ".data.rel.ro.tables"))]
pub(crate) static TARGETS: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// Makes room for the addresses of `count` imports, and of libc's functions that the loader calls, before anything of the
/// program runs. Nothing else is in those pages.
pub(crate) fn set_up(arena: &'static Arena, count: usize, page: PageSize) -> Result<(), OutOfMemory> {
    let start: *mut AtomicUsize = arena.bytes(room(count, page), to_usize(page.bytes()))?.as_mut_ptr().cast();
    ADDRESSES.store(start, Ordering::Relaxed);
    TARGETS.store(start.wrapping_add(count), Ordering::Relaxed);
    if LOADER_TARGETS.load(Ordering::Relaxed).is_null() {
        LOADER_TARGETS.store(start.wrapping_add(count.saturating_mul(2)), Ordering::Relaxed);
    }
    Ok(())
}

/// Size in bytes of the pages of the tables.
fn room(count: usize, page: PageSize) -> usize {
    let words = count.saturating_mul(2).saturating_add(LOADER_IMPORTS.len());
    words.saturating_mul(8).next_multiple_of(to_usize(page.bytes()))
}

/// Changes the protection of the tables. A failure is no reason to end a program for which libc has started.
pub(crate) fn protect_tables(process: &Process, protection: Protection) -> Result<(), Errno> {
    let size = room(process.sealed.natives.imports.len(), process.page);
    let Some(start) = NonNull::new(ADDRESSES.load(Ordering::Relaxed).cast()) else { return Ok(()) };
    // SAFETY: the pages that `set_up` has got for the tables alone.
    unsafe { sys::protect(NonNull::slice_from_raw_parts(start, size), protection) }
}

/// The word of an import in one of the tables.
pub(crate) fn entry(table: &AtomicPtr<AtomicUsize>, import: u32) -> &'static AtomicUsize {
    let words = table.load(Ordering::Relaxed);
    // SAFETY: the table has a word for each import (`set_up`), and stubs and slots have no other numbers.
    unsafe { &*words.add(to_usize(import.into())) }
}

/// Address of an import; 0 if ld.so has not found it.
pub(crate) fn address(import: u32) -> usize {
    entry(&ADDRESSES, import).load(Ordering::Acquire)
}

/// The error that an import was not found.
pub(crate) fn missing(process: &Process, import: u32) -> Error<'static> {
    let import = process.sealed.natives.imports.get(to_usize(import.into()));
    let (symbol, version) = import.map_or((&b""[..], &b""[..]), |import| {
        (import.name, import.version.map_or(&b""[..], |version| version.version))
    });
    let referrer = process.sealed.namespace.module(import.map_or(0, |import| import.referrer));
    Error::new(referrer.path, Problem::NativeSymbol { symbol, version })
}

/// Gives an import an address that ld.so did not find; also writes it into the words without a stub. The caller has
/// unsealed RELRO.
pub(crate) fn supply(process: &'static Process, number: u32, address: usize) {
    entry(&ADDRESSES, number).store(address, Ordering::Release);
    let natives = &process.sealed.natives;
    for slot in natives.slots.iter().filter(|slot| slot.import == number && !slot.lazy) {
        let at = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
        let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(at.0));
        // SAFETY: a word that relocation has written, unsealed by the caller.
        unsafe { word.write_unaligned(from_usize(address).wrapping_add(slot.addend.cast_unsigned())) };
    }
}

/// Whether ld.so has found the symbol. For a thread-local one it has written the offset from the thread pointer, which
/// is never 0: the TCB is at 0.
pub(crate) fn is_defined(process: &Process, number: u32, import: &Import<'_>) -> bool {
    if import.st_type != consts::STT_TLS {
        return entry(&ADDRESSES, number).load(Ordering::Acquire) != 0;
    }
    let slots = process.sealed.natives.slots.iter().filter(|slot| slot.import == number);
    slots
        .map(|slot| process.sealed.namespace.module(slot.module).image.get::<u64>(slot.vaddr))
        .all(|word| word != Some(0))
}

/// Changes the protection of the RELRO of modules that have native words in it: those with a stub if `lazy`, those
/// without otherwise.
pub(crate) fn protect_slots(
    process: &'static Process,
    lazy: bool,
    protection: Protection,
) -> Result<(), Error<'static>> {
    for (index, module) in process.sealed.namespace.loaded() {
        let Some(relro) = module.image.plan().relro else { continue };
        let inside = |module: usize, vaddr: Vaddr| module == index && relro.start <= vaddr && vaddr < relro.end;
        let natives = &process.sealed.natives;
        let has_copies = !lazy && natives.copies.iter().any(|copy| inside(copy.module, copy.vaddr));
        if has_copies || natives.slots.iter().any(|slot| slot.lazy == lazy && inside(slot.module, slot.vaddr)) {
            protect_relro(&Linux, module, protection)?;
        }
    }
    Ok(())
}

/// Makes that RELRO read-only again. The kernel needs no memory for it, because the pages were read-only before.
pub(crate) fn seal_again(process: &'static Process, lazy: bool) {
    protect_slots(process, lazy, Protection::READ).unwrap_or_else(|error| refuse(&error));
}
