//! The state of libc in this process.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use abi::export::{LIBC_ABSENT, LIBC_LOADING, LIBC_PRESENT};

/// libc is absent.
pub(crate) const ABSENT: i32 = 0;
/// libc is present. Any other value is the id of the thread that is bringing it in.
pub(crate) const PRESENT: i32 = -1;

pub(crate) static STATE: AtomicI32 = AtomicI32::new(ABSENT);

/// Whether ld.so has bound everything, so that libc can be called: by the thread that brings it in, and by the threads
/// that native constructors start and may wait for.
pub(crate) static BOUND: AtomicBool = AtomicBool::new(false);

/// The answer of `slul_libc_state`.
pub(crate) fn state() -> i32 {
    match STATE.load(Ordering::Acquire) {
        ABSENT => LIBC_ABSENT,
        PRESENT => LIBC_PRESENT,
        _ => LIBC_LOADING,
    }
}

/// Whether the process can leave through libc's `exit`.
pub(crate) fn is_bound() -> bool {
    BOUND.load(Ordering::Acquire)
}
