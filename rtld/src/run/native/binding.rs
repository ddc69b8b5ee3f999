//! The words of program and libraries that refer to native symbols, and how they get their values.
//!
//! ld.so fills a table of the loader's, [`ADDRESSES`]. When libc is there for everybody, stubs in the program's own
//! words are replaced by what is in it, and the stubs that are left jump through [`TARGETS`].
//!
//! # Safety
//! This file exists because those words are written by address, and the tables are found through pointers. The tables
//! are made once, before anything of the program runs.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use rtld::base::addr::{Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::elf::consts;
use rtld::elf::plan::Protection;
use rtld::error::{Error, Problem};
use rtld::link::sealed::protect_relro;
use rtld::native::needs::Import;
use rtld::os::seam::Image;
use rtld::os::sys::Linux;

use crate::run::last_words::refuse;
use crate::run::process::Process;

/// For each import, its address as ld.so has bound it; [`TARGETS`] gets them when libc is published.
pub(crate) static ADDRESSES: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// For each import, where its stub jumps to; 0 until libc is there for every thread.
pub(crate) static TARGETS: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// Bytes of stack that hold all vector state in a stub, a multiple of 64: AT_MINSIGSTKSZ and what rounding takes.
pub(crate) static STATE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// Makes room for the addresses of `count` imports, before anything of the program runs.
pub(crate) fn set_up(arena: &'static Arena, count: usize) -> Result<(), OutOfMemory> {
    for table in [&ADDRESSES, &TARGETS] {
        let words = arena.bytes(count.saturating_mul(8), 8)?;
        table.store(words.as_mut_ptr().cast(), Ordering::Relaxed);
    }
    Ok(())
}

/// The word of import number `import` in one of the tables.
pub(crate) fn entry(table: &AtomicPtr<AtomicUsize>, import: u32) -> &'static AtomicUsize {
    let words = table.load(Ordering::Relaxed);
    // SAFETY: there is a word for each import (`set_up`); stubs and slots only have numbers of imports.
    unsafe { &*words.add(to_usize(import.into())) }
}

/// The address of import number `import`; 0 if ld.so has bound it to nothing.
pub(crate) fn address(import: u32) -> usize {
    entry(&ADDRESSES, import).load(Ordering::Acquire)
}

/// That import number `import` is bound to nothing.
pub(crate) fn missing(process: &Process, import: u32) -> Error<'static> {
    let import = process.sealed.natives.imports.get(to_usize(import.into()));
    let (symbol, version) = import.map_or((&b""[..], &b""[..]), |import| {
        (import.name, import.version.map_or(&b""[..], |version| version.version))
    });
    let referrer = process.sealed.namespace.module(import.map_or(0, |import| import.referrer));
    Error::new(referrer.path, Problem::NativeSymbol { symbol, version })
}

/// Gives an import an address that ld.so did not find, in the words that do not wait, too. RELRO is unsealed meanwhile.
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

/// Whether ld.so has found the symbol. Of a thread-local one it leaves the offset from the thread pointer, which is
/// never 0: there the TCB is.
pub(crate) fn is_defined(process: &Process, number: u32, import: &Import<'_>) -> bool {
    if import.st_type != consts::STT_TLS {
        return entry(&ADDRESSES, number).load(Ordering::Acquire) != 0;
    }
    let slots = process.sealed.natives.slots.iter().filter(|slot| slot.import == number);
    slots
        .map(|slot| process.sealed.namespace.module(slot.module).image.get::<u64>(slot.vaddr))
        .all(|word| word != Some(0))
}

/// Changes the protection of the RELRO of modules that have some native word of that kind in it.
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

/// Seals what was unsealed. It was sealed before, so the kernel has nothing new to allocate for it.
pub(crate) fn seal_again(process: &'static Process, lazy: bool) {
    protect_slots(process, lazy, Protection::READ).unwrap_or_else(|error| refuse(&error));
}
