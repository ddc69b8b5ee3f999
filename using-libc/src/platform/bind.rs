//! The binding of native symbols. libc is present, so this is all that remains of bringing it in: its dlopen opens the
//! native libraries before anything of the program runs, and every native word gets its value then.
//!
//! # Safety
//! This file exists because words are read and written in objects that libc has mapped.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::List;
use rtld::base::report::Category;
use rtld::base::text::{Of, Printable, Text};
use rtld::elf::plan::Protection;
use rtld::elf::{Decode, Sym, consts, size};
use rtld::error::{Error, OfObject};
use rtld::machine::Native;
use rtld::native::needs::{Import, NativeCopy};
use rtld::native::template::{Binding, Export, Recipe, build};
use rtld::os::seam::Image;
use rtld::words;

use crate::platform::finalisers::register_finalisers;
use crate::platform::next::NEEDS;
use crate::platform::{rebind, shim};
use crate::run::cpu::calls::exit_group;
use crate::run::last_words::{REFUSED, say};
use crate::run::native::gather::{exports, native_search, needs};
use crate::run::native::libc::RTLD_DEFAULT;
use crate::run::native::optional::open_optional;
use crate::run::native::publish::{Published, has_eager_note, publish_addresses, publish_held};
use crate::run::native::{binding, libc};
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

/// Lets native libraries bind to the exports of program and libraries.
fn offer(process: &'static Process) -> Result<(), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let mut offered = List::<Export<'static>>::new(process.arena);
    // Thread-local symbols are left out: libc does not know the program's storage.
    // Copies of native data are no definitions of the program's (`rebind`), by whichever of their names.
    let is_offered =
        |export: &&Export<'_>| export.st_info & 0xf != consts::STT_TLS && !rebind::is_copy(process, export.at.0);
    for export in exports(process).of(program)?.iter().filter(is_offered) {
        let name = process.arena.concat(&[export.name, b"\0"]).of(program)?;
        if libc::symbol(RTLD_DEFAULT, name.as_ptr().cast(), None) != 0 {
            refuse(
                program,
                words!(
                    "{} is defined here and in libc or what is preloaded, which is bound already; bogomapping replaces \
                     it, slulrtld-using-libc can not",
                    export.name
                ),
            );
        }
        offered.push(*export).of(program)?;
    }
    // Clear the error of the last name that was not found.
    let _ = libc::error();
    if offered.is_empty() {
        return Ok(());
    }
    let made = shim::make(process.arena, |arena, load, bias| {
        build::<Native>(arena, &Recipe { exports: &offered, ..shim::nothing(load, bias, RuntimeAddr(0)) })
    });
    let made = made.of(program)?;
    let Some((_, bias)) = made.open(c"slul-exports", b"/fd/../fd/").of(program)? else { refuse_as_libc(program) };
    // The values are for the memory in which the object was written; libc has not looked anything up in it yet.
    let count = u32::try_from(offered.len().wrapping_add(1)).unwrap_or(u32::MAX);
    for vaddr in (0..count).filter_map(|index| made.dynamic.symbols.vaddr(index)) {
        // SAFETY: the object's own symbol table, as libc has mapped it: writable.
        let symbol = unsafe { &mut *shim::word(bias, vaddr.0).cast::<[u8; size::SYM]>() };
        let Sym { st_shndx, st_value, .. } = Sym::decode(symbol);
        if u32::from(st_shndx) != consts::SHN_UNDEF
            && let Some(place) = symbol.get_mut(8..16)
        {
            place.copy_from_slice(&st_value.wrapping_sub(made.moved(bias)).to_le_bytes());
        }
    }
    made.forget();
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
            hook: RuntimeAddr::of(rebind::copy as *const ()),
            ..shim::nothing(load, bias, first)
        };
        build::<Native>(arena, &parts)
    });
    let made = made.of(program)?;
    let first = made.vaddr(place.get());
    binding::protect_slots(process, false, Protection::READ_WRITE)?;
    let originals = first.wrapping_add(from_usize(slots.saturating_add(own)).wrapping_mul(8));
    rebind::copy_from(originals, process.arena.slice(copies.len(), 0u64).of(program)?);
    let Some((handle, bias)) = made.open(c"slul-needs", b"/fd/./").of(program)? else { refuse_as_libc(program) };
    NEEDS.store(handle, Ordering::Relaxed);
    made.forget();
    rebind::copy();
    // SAFETY: words of the object, which libc has filled.
    let word =
        |index: usize| unsafe { shim::word(bias, first.wrapping_add(from_usize(index).wrapping_mul(8))).read() };
    for (index, (number, import)) in (0u32..).zip(natives.imports.iter()).enumerate() {
        if import.st_type != consts::STT_TLS {
            binding::supply(process, number, to_usize(word(slots.saturating_add(index))));
        }
    }
    for (index, slot) in natives.slots.iter().enumerate().filter(|(_, slot)| !slot.lazy) {
        let at = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
        let place: *mut u64 = core::ptr::with_exposed_provenance_mut(to_usize(at.0));
        // SAFETY: a word that relocation has written, unsealed just now.
        unsafe { place.write_unaligned(word(index)) };
    }
    for (number, import) in (0u32..).zip(natives.imports.iter()) {
        if import.strong && !binding::is_defined(process, number, import) {
            return Err(binding::missing(process, number));
        }
    }
    rebind::require_copied(process)?;
    binding::seal_again(process, false);
    Ok(())
}

/// Reports the reason and ends the process.
fn refuse(object: &[u8], what: &dyn Text) -> ! {
    say(&Of(object, what));
    exit_group(REFUSED)
}

/// Reports libc's own message and ends the process.
fn refuse_as_libc(object: &[u8]) -> ! {
    refuse(object, &Printable(libc::error().unwrap_or(b"libc does not say why")))
}
