//! A mapped file that loses its end while the loader reads it. Touching a page beyond the new end raises SIGBUS, which
//! is made a refusal here. A second fstat would not help, nor would a private mapping: a file can be truncated at any
//! time, and the kernel then takes private copies of its pages away, too.
//!
//! # Safety
//! This file exists because a signal handler is installed by address. The handler never returns, uses nothing but the
//! path that was published before, and is removed before any code of an object runs.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::error::{Error, OWN, Problem};

use crate::run::cpu::calls::{self, Action};
use crate::run::cpu::number;
use crate::run::last_words;

const SIGBUS: usize = 7;

/// Path by which the refusal names the program.
static PROGRAM: AtomicPtr<&'static [u8]> = AtomicPtr::new(ptr::null_mut());

extern "C" fn refuse() -> ! {
    // SAFETY: null, or published and never changed.
    let object = unsafe { PROGRAM.load(Ordering::Acquire).as_ref() }.copied().unwrap_or(OWN);
    last_words::refuse(&Error::new(object, Problem::CutWhileMapped))
}

fn set(new: &Action) -> Option<Action> {
    let mut old = calls::NO_ACTION;
    let (new, place) = (ptr::from_ref(new).expose_provenance(), (&raw mut old).expose_provenance());
    // SAFETY: both have the layout of the kernel's `struct sigaction`.
    let result = unsafe { calls::system_call(number::RT_SIGACTION, [SIGBUS, new, place, 8]) };
    (result == 0).then_some(old)
}

/// The action for SIGBUS before [`watch`]; `None` if it was not changed.
pub(crate) struct Watch(Option<Action>);

impl Watch {
    /// SIGBUS is the program's.
    pub(crate) const NONE: Self = Self(None);
}

/// Makes SIGBUS a refusal from now on. If the kernel does not permit that, the action stays as it is.
pub(crate) fn watch(program: &'static &'static [u8]) -> Watch {
    PROGRAM.store(ptr::from_ref(program).cast_mut(), Ordering::Release);
    let refuse = refuse as *const () as usize;
    Watch(set(&calls::action(refuse)))
}

impl Watch {
    /// Restores the former action.
    pub(crate) fn end(&self) {
        if let Some(before) = &self.0 {
            let _ = set(before);
        }
    }
}
