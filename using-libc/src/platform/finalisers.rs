//! When libc's `exit` is told of the finalisers of program and libraries.
#![forbid(unsafe_code)]

use crate::run::finish::finalise;
use crate::run::native::libc;

/// The initialisers of libraries have run, and the program's are next.
pub(crate) fn libraries_are_ready() {
    register_finalisers();
}

/// Our finalisers run in libc's `exit`, before what native libraries have registered there. Registered before the
/// initialisers of libraries as well, for one that leaves. They run once.
pub(crate) fn register_finalisers() {
    extern "C" fn run(_: usize) {
        finalise();
    }
    libc::at_exit(run);
}
