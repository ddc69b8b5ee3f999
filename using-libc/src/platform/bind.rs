//! The binding of native symbols. libc is present, so this is all that remains of bringing it in: its dlopen opens the
//! native libraries before anything of the program runs, and every native word gets its value then.
//!
//! # Safety
//! This file exists because words are read and written in objects that libc has mapped.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{List, OutOfMemory};
use rtld::base::report::Category;
use rtld::elf::consts;
use rtld::elf::plan::Protection;
use rtld::error::{Error, OfObject};
use rtld::machine::Native;
use rtld::native::needs::{Import, NativeCopy};
use rtld::native::template::{Binding, Recipe, build};
use rtld::os::seam::Image;
use rtld::words;

use crate::platform::finalisers::register_finalisers;
use crate::platform::next::NEEDS;
use crate::platform::offer::offer;
use crate::platform::refusal::refuse_as_libc;
use crate::platform::{rebind, search, second_start, shim};
use crate::run::last_words;
use crate::run::native::binding;
use crate::run::native::gather::{native_search, needs};
use crate::run::native::optional::open_optional;
use crate::run::native::publish::{Published, has_eager_note, publish_addresses, publish_held};
use crate::run::open::{fork, unwind};
use crate::run::process::Process;
use crate::run::thread_pointer::is_now_libcs;
use crate::system;

/// Whether native libraries are opened before anything of the program runs: always, if there may be any.
pub(crate) const fn comes_first(process: &Process) -> bool {
    process.apart.is_some()
}

/// Binds the program to its native libraries, once, before the program can ask for it.
pub(crate) fn ensure_libc(process: &'static Process) -> Result<(), Error<'static>> {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if BEGUN.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    bind(process)
}

/// [`ensure_libc`] for a call of a native function, which the calling thread is about to make.
pub(crate) fn ensure_callable(process: &'static Process) -> Result<(), Error<'static>> {
    ensure_libc(process)?;
    publish_held(process).of(process.sealed.namespace.module(0).path)
}

/// Binds like [`ensure_libc`]. The names have no effect, because libc is chosen already.
pub(crate) fn ensure_libc_for(process: &'static Process, _: &[&[u8]]) -> Result<(), Error<'static>> {
    ensure_libc(process)
}

fn bind(process: &'static Process) -> Result<(), Error<'static>> {
    is_now_libcs();
    offer(process)?;
    fill(process)?;
    system::find_libc();
    open_optional(process);
    if !system::is_glibc() {
        second_start::serve(process);
    }
    register_finalisers();
    unwind::register(process, process.arena, true);
    fork::watch();
    // The program's first call shows whether it has made a thread pointer of its own by then.
    let eager = has_eager_note(process);
    publish_addresses(process, if eager { Published::All } else { Published::Held { only_called: true } });
    process.trace.line(Category::Libc, words!("present from the start"));
    system::forget_errors();
    Ok(())
}

/// Has libc open the native libraries and bind the symbols; then writes the addresses into the program's words.
fn fill(process: &'static Process) -> Result<(), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let natives = &process.sealed.natives;
    let (libraries, mut imports) = needs(process).of(program)?;
    for import in imports.iter_mut() {
        // The program's PLT slots need no definition for libc here.
        *import = Import { canonical: None, ..*import };
    }
    let (own, copies) = (imports.len(), &natives.copies);
    for NativeCopy { name, version, module, st_info, .. } in copies.iter().copied() {
        let (st_type, strong) = (st_info & 0xf, true);
        let version = version.filter(|version| !natives.is_optional(version.file));
        imports.push(Import { name, version, st_type, strong, referrer: module, canonical: None }).of(program)?;
    }
    let search = native_search(process).of(program)?;
    let (slots, count) = (natives.slots.len(), imports.len());
    // libc fills one word for each slot, and one for each import.
    let place = core::cell::Cell::new(RuntimeAddr(0));
    let made = shim::make(process.arena, |arena, load, bias| {
        let words = arena.bytes(slots.saturating_add(count).saturating_mul(8), 8)?;
        let first = RuntimeAddr::of(words.as_ptr());
        let word = |index: usize| RuntimeAddr(first.0.wrapping_add(from_usize(index).wrapping_mul(8)));
        place.set(first);
        let mut bindings = List::new(process.arena);
        for (index, slot) in natives.slots.iter().enumerate() {
            bindings.push(Binding {
                at: word(index),
                import: slot.import,
                r_type: slot.r_type,
                addend: slot.addend,
            })?;
        }
        let parts = Recipe {
            libraries: &libraries,
            search,
            imports: &imports,
            bindings: &bindings,
            targets: word(slots),
            hook: RuntimeAddr::of(bound as *const ()),
            ..shim::nothing(load, bias, first)
        };
        build::<Native>(arena, &parts)
    });
    let made = made.of(program)?;
    let first = made.vaddr(place.get());
    binding::protect_slots(process, false, Protection::READ_WRITE)?;
    let filling = Filling { first, own, room: process.arena.slice(copies.len(), 0u64).of(program)?.as_mut_ptr() };
    let filling = process.arena.put(filling).map_err(|_| OutOfMemory(size_of::<Filling>())).of(program)?;
    FILLING.store(filling, Ordering::Release);
    // While the environment is the start's: constructors may change it.
    search::set_up(process).of(program)?;
    let Some((handle, _)) = made.open(c"slul-needs", b"/fd/./").of(program)? else { refuse_as_libc(program) };
    NEEDS.store(handle, Ordering::Relaxed);
    made.forget();
    bound();
    binding::seal_again(process, false);
    Ok(())
}

/// What is to be done when ld.so has bound the native libraries.
struct Filling {
    /// Link-time address of the first word, in the object that ld.so has filled.
    first: u64,
    /// Number of imports, without those of copies.
    own: usize,
    /// Room for the address of each copy's original.
    room: *mut u64,
}

static FILLING: AtomicPtr<Filling> = AtomicPtr::new(ptr::null_mut());

/// Does it, once. glibc calls this before any constructor of the native libraries (DT_PREINIT_ARRAY), so that one may call back into
/// the program, and that may call native functions; musl does not.
extern "C" fn bound() {
    // SAFETY: null, or in an arena that stays.
    let filling = unsafe { FILLING.swap(ptr::null_mut(), Ordering::AcqRel).as_ref() };
    let (Some(process), Some(filling)) = (Process::get(), filling) else { return };
    finish(process, filling).unwrap_or_else(|error| last_words::refuse(&error));
}

fn finish(process: &'static Process, filling: &'static Filling) -> Result<(), Error<'static>> {
    let Filling { first, own, room } = *filling;
    let Some(bias) = rebind::bias_of(bound) else { return Ok(()) };
    let slots = process.sealed.natives.slots.len();
    // SAFETY: words of the object, which libc has filled.
    let word =
        |index: usize| unsafe { shim::word(bias, first.wrapping_add(from_usize(index).wrapping_mul(8))).read() };
    // SAFETY: room for a word for each copy.
    unsafe { rebind::copy(process, |index| word(slots.saturating_add(own).saturating_add(index)), room)? };
    write_words(process, |index| {
        let address = word(index);
        search::instead(to_usize(address)).map_or(address, from_usize)
    })
}

/// Writes what libc has bound into the words of program and libraries, which are unsealed, and into the table of addresses. `word` is
/// the value for each slot, and behind those for each import.
fn write_words(process: &'static Process, word: impl Fn(usize) -> u64) -> Result<(), Error<'static>> {
    let natives = &process.sealed.natives;
    for (index, (number, import)) in (0u32..).zip(natives.imports.iter()).enumerate() {
        if import.st_type != consts::STT_TLS {
            binding::supply(process, number, to_usize(word(natives.slots.len().saturating_add(index))));
        }
    }
    for (index, slot) in natives.slots.iter().enumerate().filter(|(_, slot)| !slot.lazy) {
        let at = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
        let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(at.0));
        // SAFETY: a word that relocation has written, unsealed just now.
        unsafe { place.write_unaligned(word(index)) };
    }
    for (number, import) in (0u32..).zip(natives.imports.iter()) {
        if import.strong && !binding::is_defined(process, number, import) {
            return Err(binding::missing(process, number));
        }
    }
    Ok(())
}
