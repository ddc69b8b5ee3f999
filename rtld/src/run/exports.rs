//! What programs may import from the loader, besides the memory functions. `exports.map` gives the versions,
//! `exports.golden` the list that the audit holds the binary against.
//!
//! # Safety
//! This file exists because exported names must not be mangled.
#![allow(unsafe_code)]

use crate::cpu;
use crate::platform::bogomap;
use crate::run::last_words::{REFUSED, say};
use crate::run::native::libc;
use crate::run::process::{Process, finalise};

/// Brings the system's libc in; 0, or a negative errno.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_load_libc() -> i32 {
    let Some(process) = Process::get() else { return rtld::error::Errno::EPERM.0.wrapping_neg() };
    match bogomap::ensure_libc(process) {
        Ok(()) => 0,
        Err(error) => error.problem.errno().0.wrapping_neg(),
    }
}

/// 0 absent, 1 loading, 2 present.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_libc_state() -> i32 {
    bogomap::state()
}

/// Runs the finalisers and ends the process; through libc's `exit` once libc is there, so that it flushes its
/// buffers and runs its own. Ours are registered with it and run before those.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_exit(status: i32) -> ! {
    leave_by_libc(status);
    finalise();
    // A finaliser's native call may have been the first.
    leave_by_libc(status);
    cpu::exit_group(status)
}

/// Returns if there is no libc to leave by.
fn leave_by_libc(status: i32) {
    if bogomap::is_bound() {
        libc::exit(status);
    }
}

/// A value of the auxiliary vector as the kernel passed it, 0 if there is none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_getauxval(key: u64) -> u64 {
    Process::get().map_or(0, |process| process.auxiliary(key))
}

/// Called by code compiled with the stack protector when it finds its canary changed.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __stack_chk_fail() -> ! {
    say(format_args!("stack smashing detected"));
    cpu::exit_group(REFUSED)
}
