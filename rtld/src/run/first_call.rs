//! The first call of a native function, through its stub.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use rtld::words;

use crate::platform::ensure_callable;
use crate::run::cpu::calls::trap;
use crate::run::last_words::{refuse, say};
use crate::run::native::binding;
use crate::run::process::Process;

/// The address of a native function, to which its stub jumps. Brings libc in if it is absent. `misaligned` is by how many
/// bytes the caller's stack is not aligned as the psABI wants it.
pub(crate) fn first_call(import: u32, misaligned: u64) -> usize {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let Some(process) = Process::get() else { trap() };
    // Calls of functions that do not depend on it succeed, so this is no refusal.
    if misaligned != 0 && !process.calls_entry() && !WARNED.swap(true, Ordering::Relaxed) {
        let program = process.sealed.namespace.module(0).path;
        say(words!(
            "{}: a native function is called with a stack that is misaligned by {} bytes, and may crash: an entry that \
             is a C function needs SLUL_ABI_NOTE(SLUL_CALL_ENTRY), any other has to align the stack to 16 bytes",
            program,
            misaligned
        ));
    }
    ensure_callable(process).unwrap_or_else(|error| refuse(&error));
    match binding::address(import) {
        0 => refuse(&binding::missing(process, import)),
        address => address,
    }
}
