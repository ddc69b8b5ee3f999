//! The registration of program's and libraries' finalisers with libc's `exit`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize};

use crate::platform::presence::is_bound;
use crate::run::code;
use crate::run::finish::finalise;
use crate::run::native::libc;

/// Whether DT_PREINIT_ARRAY has called the hook. glibc does that, musl does not.
pub(crate) static PREINIT: AtomicBool = AtomicBool::new(false);

/// Whether the initialisers of all libraries have run, so that those of the program are next.
pub(crate) static READY: AtomicBool = AtomicBool::new(false);

/// The finaliser that ld.so has passed to the template's entry; only glibc's ld.so passes one.
pub(crate) static NATIVE_FINALISER: AtomicUsize = AtomicUsize::new(0);

/// Called when the initialisers of all libraries have run, before those of the program. In an ordinary executable,
/// ld.so's finaliser is registered with libc's `exit` at this moment.
pub(crate) fn libraries_are_ready() {
    READY.store(true, Ordering::Relaxed);
    if is_bound() && PREINIT.load(Ordering::Relaxed) {
        register_finalisers();
    }
}

/// Registers the loader's finalisers, and ld.so's after them, with libc's `exit`: they run before what native libraries
/// registered while they were initialised, and after what the program registers. The hook registers them as well, for a
/// native constructor that ends the process. They run once.
pub(crate) fn register_finalisers() {
    extern "C" fn run(_: usize) {
        finalise();
        // musl passes none, and runs its own finalisers by itself.
        let native = NATIVE_FINALISER.swap(0, Ordering::AcqRel);
        if native != 0 && PREINIT.load(Ordering::Relaxed) {
            code::finalise([RuntimeAddr(from_usize(native))].into_iter());
        }
    }
    libc::at_exit(run);
}
