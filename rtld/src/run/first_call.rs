//! The first call of a native function, through its stub.
#![forbid(unsafe_code)]

use crate::platform::ensure_callable;
use crate::run::cpu::calls::trap;
use crate::run::last_words::refuse;
use crate::run::native::binding;
use crate::run::process::Process;

/// The address of a native function, to which its stub jumps. Brings libc in if it is absent.
pub(crate) extern "C" fn first_call(import: u32) -> usize {
    let Some(process) = Process::get() else { trap() };
    ensure_callable(process).unwrap_or_else(|error| refuse(&error));
    match binding::address(import) {
        0 => refuse(&binding::missing(process, import)),
        address => address,
    }
}
