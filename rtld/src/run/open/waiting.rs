//! The first call of a function that nobody defined when its caller was loaded.
//!
//! # Safety
//! This file exists because a PLT slot is written by address.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::Arena;
use rtld::elf::symbol::{is_absolute, is_resolver};
use rtld::elf::{consts, st_type};
use rtld::error::{Error, OWN, Problem};
use rtld::link::namespace::Definition;
use rtld::link::reloc::WaitingSlot;
use rtld::native::needs::Import;
use rtld::open::find::Where;
use rtld::open::waiting::Waiting;
use rtld::os::seam::Image;

use crate::platform::presence;
use crate::run::code;
use crate::run::cpu::calls::trap;
use crate::run::last_words::refuse;
use crate::run::native::natives;
use crate::run::native::optional::look_up;
use crate::run::open::runtime::{Runtime, release, runtime};
use crate::run::process::{Process, new_arena};
use crate::run::refusal::Refusal;

/// The function, to which the slot leads from now on. If there is none, says so and ends the process.
pub(crate) fn first_call(slot: WaitingSlot) -> usize {
    let Some(process) = Process::get() else { trap() };
    let failed = |error: &Error<'_>| -> ! { refuse(error) };
    let arena = new_arena().unwrap_or_else(|failure| failed(&Error::new(OWN, *failure)));
    let found = match runtime() {
        Some(runtime) => bind(runtime, slot, arena).unwrap_or_else(|refusal| refusal.end()),
        // Nothing can have been opened since.
        None => {
            let waiting =
                Waiting::of(&process.sealed.namespace, slot, arena).unwrap_or_else(|error| failed(&error));
            failed(&waiting.undefined())
        }
    };
    // SAFETY: nothing of it is used any more.
    unsafe { release(arena) };
    to_usize(found.0)
}

fn bind(runtime: &Runtime, slot: WaitingSlot, arena: &'static Arena) -> Result<RuntimeAddr, Refusal> {
    let (waiting, found) = runtime.with(|state| -> Result<_, Refusal> {
        let waiting = Waiting::of(state.libraries.namespace(), slot, arena)?;
        let found = state.libraries.find(Where::As(slot.module), Some(slot.module), &waiting.name())?;
        let namespace = state.libraries.namespace();
        let place = |vaddr| namespace.module(slot.module).image.bias().runtime(vaddr);
        let found = match found {
            Some(Definition { module, sym }) => {
                let module = namespace.module(module);
                let address = module.address(&sym);
                let is_code = is_absolute(&sym) || module.is_code(module.image.bias().vaddr(address));
                if st_type(&sym) == consts::STT_TLS || !is_code {
                    let why = "is no function, but called";
                    return Err(Error::new(waiting.path, Problem::SymbolKind { symbol: waiting.name, why }).into());
                }
                Some((address, is_resolver(&sym)))
            }
            None => None,
        };
        Ok(((waiting, place(waiting.at)), found))
    })??;
    let (waiting, place) = waiting;
    let address = match found {
        Some((address, true)) => code::ask(address),
        Some((address, false)) => address,
        None => RuntimeAddr(from_usize(native(runtime, arena, &waiting)?)),
    };
    if address.0 == 0 {
        return Err(Refusal::Error(waiting.undefined()));
    }
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place.0));
    if word.is_aligned() {
        // SAFETY: relocation has checked that the word is writable and stays so; the module's code is calling, so it is mapped.
        // Other threads read it as a word.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.store(address.0, Ordering::Release);
    }
    Ok(address)
}

/// The address of a native function of that name; 0 if there is none.
fn native(runtime: &Runtime, arena: &'static Arena, waiting: &Waiting<'static>) -> Result<usize, Refusal> {
    if !presence::is_bound() {
        return Ok(0);
    }
    natives::is_callable(runtime)?;
    let &Waiting { name, version, .. } = waiting;
    let import = Import { name, version, st_type: 0, strong: true, referrer: 0, canonical: None };
    Ok(look_up(arena, &[], &import)?)
}
