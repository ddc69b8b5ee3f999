//! Whether libc is there.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// libc is not there.
pub(crate) const ABSENT: i32 = 0;
/// It is there. Any other value is the id of the thread that is bringing it in.
pub(crate) const PRESENT: i32 = -1;

pub(crate) static STATE: AtomicI32 = AtomicI32::new(ABSENT);

/// Whether ld.so has bound everything, and libc can be called: by the thread that brings it in, and by those that native
/// constructors make, and may wait for.
pub(crate) static BOUND: AtomicBool = AtomicBool::new(false);

/// Answer of `slul_libc_state`.
pub(crate) fn state() -> i32 {
    match STATE.load(Ordering::Acquire) {
        ABSENT => 0,
        PRESENT => 2,
        _ => 1,
    }
}

/// Whether there is a libc to leave the process by.
pub(crate) fn is_bound() -> bool {
    BOUND.load(Ordering::Acquire)
}
