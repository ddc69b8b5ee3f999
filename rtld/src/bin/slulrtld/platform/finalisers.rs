//! When libc's `exit` is told of the finalisers of program and libraries.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize};

use crate::platform::presence::is_bound;
use crate::run::code;
use crate::run::finish::finalise;
use crate::run::native::libc;

/// Whether the hook was called by DT_PREINIT_ARRAY: so it is with glibc, and not with musl.
pub(crate) static PREINIT: AtomicBool = AtomicBool::new(false);

/// Whether the initialisers of libraries have run, and the program's may.
pub(crate) static READY: AtomicBool = AtomicBool::new(false);

/// What ld.so has passed to the template's entry: its own finaliser, under glibc.
pub(crate) static NATIVE_FINALISER: AtomicUsize = AtomicUsize::new(0);

/// The initialisers of libraries have run, and the program's are next. An ordinary executable registers ld.so's
/// finaliser with libc's `exit` now.
pub(crate) fn libraries_are_ready() {
    READY.store(true, Ordering::Relaxed);
    if is_bound() && PREINIT.load(Ordering::Relaxed) {
        register_finalisers();
    }
}

/// Our finalisers, and then ld.so's, run in libc's `exit`: before what libraries have registered there when they were
/// initialised, after what the program has. Registered in the hook as well, for a native constructor that leaves. They
/// run once.
pub(crate) fn register_finalisers() {
    extern "C" fn run(_: usize) {
        finalise();
        // musl passes nothing, and looks after its own.
        let native = NATIVE_FINALISER.swap(0, Ordering::AcqRel);
        if native != 0 && PREINIT.load(Ordering::Relaxed) {
            code::finalise([RuntimeAddr(from_usize(native))].into_iter());
        }
    }
    libc::at_exit(run);
}
