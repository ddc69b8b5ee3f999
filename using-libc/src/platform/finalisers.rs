//! The registration of program's and libraries' finalisers with libc's `exit`.
#![forbid(unsafe_code)]

use crate::run::finish::finalise;
use crate::run::native::libc;

/// Called when the initialisers of all libraries have run, before those of the program.
pub(crate) fn libraries_are_ready() {
    register_finalisers();
}

/// Registers the finalisers with libc's `exit`, which runs them before those that native libraries have registered.
/// Registered before the initialisers of libraries as well, for one that ends the process. They run once.
pub(crate) fn register_finalisers() {
    extern "C" fn run(_: usize) {
        finalise();
    }
    libc::at_exit(run);
}
