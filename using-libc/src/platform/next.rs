//! RTLD_NEXT in libc's world.
#![forbid(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::run::native::libc::{self, RTLD_DEFAULT};
use crate::run::process::Process;

/// libc's handle of the object that needs the program's native libraries, and defines nothing.
pub(crate) static NEEDS: AtomicUsize = AtomicUsize::new(RTLD_DEFAULT);

/// The definition of a name in libc's world; 0 if there is none: that of the program's native libraries, in their order, or
/// else the first of all.
pub(crate) fn next(_: &Process, name: *const c_char, version: Option<&CStr>) -> usize {
    match libc::symbol(NEEDS.load(Ordering::Relaxed), name, version) {
        0 => libc::symbol(RTLD_DEFAULT, name, version),
        address => address,
    }
}
