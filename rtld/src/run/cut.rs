//! A file that loses its end while it is read: to touch what was there is a SIGBUS, and that a refusal. Neither a
//! second fstat nor a private copy would do: a file can be cut at any time, and the kernel takes copies away with it.
//!
//! # Safety
//! This file exists because a signal handler is installed by address. It never returns, uses nothing but the path that
//! was published before, and is gone before any code of an object runs.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::error::{Error, OWN, Problem};

use crate::run::cpu::calls;
use crate::run::last_words;

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
type Action = [usize; 4];

const SIGBUS: usize = 7;

/// x86_64's kernel delivers no signal without a restorer. Nothing ever returns to this one.
const SA_RESTORER: usize = 0x0400_0000;

/// What to call the program.
static PROGRAM: AtomicPtr<&'static [u8]> = AtomicPtr::new(ptr::null_mut());

extern "C" fn refuse() -> ! {
    // SAFETY: null, or published and never changed.
    let object = unsafe { PROGRAM.load(Ordering::Acquire).as_ref() }.copied().unwrap_or(OWN);
    last_words::refuse(&Error::new(object, Problem::CutWhileMapped))
}

fn set(new: &Action) -> Option<Action> {
    let mut old = [0usize; 4];
    let (new, place) = (ptr::from_ref(new).expose_provenance(), (&raw mut old).expose_provenance());
    let number = linux_raw_sys::general::__NR_rt_sigaction;
    // SAFETY: both are laid out as the kernel's.
    let result = unsafe { calls::system_call(number, [SIGBUS, new, place, 8]) };
    (result == 0).then_some(old)
}

/// What SIGBUS did before it was watched for.
pub(crate) struct Watch(Option<Action>);

/// From now on a SIGBUS is a refusal. If the kernel does not want that, it stays what it is.
pub(crate) fn watch(program: &'static &'static [u8]) -> Watch {
    PROGRAM.store(ptr::from_ref(program).cast_mut(), Ordering::Release);
    let refuse = refuse as *const () as usize;
    Watch(set(&[refuse, SA_RESTORER, refuse, 0]))
}

impl Watch {
    /// It does again what it did before.
    pub(crate) fn end(&self) {
        if let Some(before) = &self.0 {
            let _ = set(before);
        }
    }
}
