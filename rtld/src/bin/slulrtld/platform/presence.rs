//! The state of libc in this process.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI32, Ordering};

use abi::export::{LIBC_ABSENT, LIBC_LOADING, LIBC_PRESENT};

use crate::run::sync;

/// libc is absent.
pub(crate) const ABSENT: i32 = 0;
/// libc is present. Any other value is the id of the thread that is bringing it in, perhaps with [`BOUND`] and
/// [`WAITING`], two bits that no thread id has: the kernel's limit of ids, `PID_MAX_LIMIT`, is 1 << 22.
pub(crate) const PRESENT: i32 = -1;
/// ld.so has bound everything, so that libc can be called: by the thread that brings it in, and by the threads that
/// native constructors start or wait for. [`PRESENT`] has this bit as well.
pub(crate) const BOUND: i32 = 1 << 30;
/// A thread is waiting for the state to change.
pub(crate) const WAITING: i32 = 1 << 29;

pub(crate) static STATE: AtomicI32 = AtomicI32::new(ABSENT);

/// Waits until the state, which was `before`, has changed. May return early. Being bound is part of the state, so that
/// a thread that has seen it unbound does not go to sleep after it was bound.
pub(crate) fn wait(before: i32) {
    let waiting = before | WAITING;
    if STATE.compare_exchange(before, waiting, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        sync::wait_while(&STATE, waiting);
    }
}

/// Wakes the threads that wait for a change of the state. `before` is the state before the change.
pub(crate) fn changed(before: i32) {
    if before & WAITING != 0 {
        sync::wake(&STATE, i32::MAX);
    }
}

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
    STATE.load(Ordering::Acquire) & BOUND != 0
}
