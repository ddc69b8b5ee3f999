//! What programs may import from the loader, besides the memory functions. `abi::export` is the list, of
//! which the linker's version script is made, and which the audit holds the binary against.
//!
//! # Safety
//! This file exists because exported names must not be mangled.
#![allow(unsafe_code)]

use crate::platform::{ensure_libc, presence};
use crate::run::cpu::calls::exit_group;
use crate::run::finish;
use crate::run::last_words::{REFUSED, say};
use crate::run::process::Process;

/// Brings the system's libc in; 0, or a negative errno.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_load_libc() -> i32 {
    let Some(process) = Process::get() else { return rtld::error::Errno::EPERM.0.wrapping_neg() };
    match ensure_libc(process) {
        Ok(()) => 0,
        Err(error) => error.problem.errno().0.wrapping_neg(),
    }
}

/// 0 absent, 1 loading, 2 present.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_libc_state() -> i32 {
    presence::state()
}

/// Ends the process; see [`finish::exit`].
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_exit(status: i32) -> ! {
    finish::exit(status)
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
    exit_group(REFUSED)
}
