//! The end of a process: finalisers, then the exit.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use crate::platform::presence::is_bound;
use crate::run::code;
use crate::run::native::libc;
use crate::run::open::runtime::runtime;
use crate::run::process::{Process, new_arena};

/// Runs the finalisers of program and libraries, in reverse order of initialisation. Each runs once, and only if the
/// initialisers of its module have begun. Called again by a finaliser, it runs the remaining ones.
pub(crate) extern "C" fn finalise() {
    let Some(process) = Process::get() else { return };
    finalise_opened();
    let next = || {
        let ordering = Ordering::Relaxed;
        process.initialised.fetch_update(ordering, ordering, |begun| begun.checked_sub(1))
    };
    while let Ok(begun) = next() {
        let index = process.sealed.init_order.get(begun.wrapping_sub(1));
        let module = index.and_then(|&index| process.sealed.namespace.get(index));
        module.into_iter().for_each(|module| code::finalise(code::finalisers(module)));
    }
}

/// Runs the finalisers of libraries that are still open; the last initialised one comes first.
fn finalise_opened() {
    let Some(runtime) = runtime().filter(|runtime| runtime.begun.load(Ordering::Relaxed)) else { return };
    let Ok(arena) = new_arena() else { return };
    let next = || {
        runtime.with(|state| {
            let index = state.libraries.pop_initialised()?;
            code::collect(arena, code::finalisers(state.libraries.namespace().get(index)?)).ok()
        })
    };
    while let Ok(Some(calls)) = next() {
        code::finalise(calls.iter().copied());
    }
}

/// The last step of `slul_exit`: the address of libc's `exit`, once libc is there, so that it flushes its buffers and runs its
/// own finalisers; ours are registered with it and run before those. Without libc ours are run here, and the answer is 0.
pub(crate) extern "C" fn way_out() -> usize {
    let by_libc = || if is_bound() { libc::exit() } else { 0 };
    match by_libc() {
        0 => {
            finalise();
            // A finaliser's native call may have been the first.
            by_libc()
        }
        exit => exit,
    }
}
