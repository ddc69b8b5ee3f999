//! The loader's exports, besides the memory functions. The audit compares the binary with the table of `abi/src/export.rs`,
//! which has their versions.
//!
//! # Safety
//! This file exists because exported names must not be mangled.
#![allow(unsafe_code)]

use rtld::words;

use crate::platform::{ensure_libc_for, presence};
use crate::run::cpu::calls::exit_group;
use crate::run::last_words::{REFUSED, say};
use crate::run::process::Process;
use crate::run::thread;

/// Brings the system's libc in. Returns 0, or a negative errno, and then keeps the message for `slul_dlerror`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_load_libc() -> i32 {
    let Some(process) = Process::get() else { return rtld::error::Errno::EPERM.0.wrapping_neg() };
    match ensure_libc_for(process, &[]) {
        Ok(()) => 0,
        Err(error) => {
            thread::fail(&error);
            error.problem.errno().0.wrapping_neg()
        }
    }
}

/// State of libc: 0 absent, 1 loading, 2 present.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_libc_state() -> i32 {
    presence::state()
}

/// The value of an entry in the kernel's auxiliary vector; 0 without one.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_getauxval(key: u64) -> u64 {
    Process::get().map_or(0, |process| process.auxiliary(key))
}

/// Called by code compiled with the stack protector when its canary has changed. Ends the process.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __stack_chk_fail() -> ! {
    say(words!("stack smashing detected"));
    exit_group(REFUSED)
}
