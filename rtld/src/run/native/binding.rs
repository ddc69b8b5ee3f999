//! The words of program and libraries that refer to native symbols, and how they get their values.
//!
//! ld.so fills a table of the loader's, [`ADDRESSES`]. When libc is there for everybody, stubs in the program's own
//! words are replaced by what is in it, and the stubs that are left jump through [`cpu::TARGETS`].
//!
//! # Safety
//! This file exists because those words are written by address, and the tables are found through pointers. The tables
//! are made once, before anything of the program runs.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::elf::consts;
use rtld::elf::plan::Protection;
use rtld::error::{Error, Problem};
use rtld::link::load::protect_relro;
use rtld::native::needs::Import;
use rtld::os::seam::Image;
use rtld::os::sys::Linux;

use crate::cpu;
use crate::platform::bogomap;
use crate::run::process::Process;

/// For each import, its address as ld.so has bound it; [`cpu::TARGETS`] gets them when libc is published.
static ADDRESSES: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// Makes room for the addresses of `count` imports, before anything of the program runs.
pub(crate) fn set_up(arena: &'static Arena, count: usize) -> Result<(), OutOfMemory> {
    for table in [&ADDRESSES, &cpu::TARGETS] {
        let words = arena.bytes(count.saturating_mul(8), 8)?;
        table.store(words.as_mut_ptr().cast(), Ordering::Relaxed);
    }
    Ok(())
}

/// What a first-call stub jumps to. Brings libc in if it is not there.
pub(crate) extern "C" fn first_call(import: u32) -> usize {
    let Some(process) = Process::get() else { cpu::trap() };
    bogomap::ensure_libc(process).unwrap_or_else(|error| crate::run::last_words::refuse(&error));
    match entry(&ADDRESSES, import).load(Ordering::Acquire) {
        0 => crate::run::last_words::refuse(&missing(process, import)),
        address => address,
    }
}

/// The word of import number `import` in one of the tables.
fn entry(table: &AtomicPtr<AtomicUsize>, import: u32) -> &'static AtomicUsize {
    let words = table.load(Ordering::Relaxed);
    // SAFETY: there is a word for each import (`set_up`); stubs and slots only have numbers of imports.
    unsafe { &*words.add(to_usize(import.into())) }
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
    protect_slots(process, lazy, Protection::READ).unwrap_or_else(|error| crate::run::last_words::refuse(&error));
}

/// Replaces the stubs in the words of program and libraries by their targets, and lets the stubs that are left jump on.
pub(crate) fn publish_addresses(process: &'static Process) {
    let natives = &process.sealed.natives;
    protect_slots(process, true, Protection::READ_WRITE)
        .unwrap_or_else(|error| crate::run::last_words::refuse(&error));
    for slot in natives.slots.iter().filter(|slot| slot.lazy) {
        let address = entry(&ADDRESSES, slot.import).load(Ordering::Acquire);
        if address != 0 {
            let place = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
            // SAFETY: a word of the object that relocation has written, unsealed just now.
            unsafe { replace(place, cpu::stubs().address(slot.import), from_usize(address)) };
        }
    }
    seal_again(process, true);
    for (number, _) in (0u32..).zip(natives.imports.iter()) {
        let address = entry(&ADDRESSES, number).load(Ordering::Acquire);
        entry(&cpu::TARGETS, number).store(address, Ordering::Release);
    }
}

/// Stores `new` in the word at `place` if it still holds `stub`: what the program has stored there since stays.
///
/// # Safety
/// The word is one that may be written.
unsafe fn replace(place: RuntimeAddr, stub: RuntimeAddr, new: u64) {
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place.0));
    if word.is_aligned() {
        // SAFETY: by the caller; other threads of the program use it as a word, too.
        let word = unsafe { AtomicU64::from_ptr(word) };
        let _ = word.compare_exchange(stub.0, new, Ordering::AcqRel, Ordering::Relaxed);
        return;
    }
    // SAFETY: by the caller. A word across two of the processor's is nobody's to share.
    if unsafe { word.read_unaligned() } == stub.0 {
        // SAFETY: as above.
        unsafe { word.write_unaligned(new) };
    }
}

/// Where [`ADDRESSES`] is, for the template.
pub(crate) fn addresses() -> RuntimeAddr {
    RuntimeAddr::of(ADDRESSES.load(Ordering::Relaxed))
}
