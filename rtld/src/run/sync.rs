//! The process, its threads and signals, as far as the kernel knows them: ids, locks, waiting, masks. Nothing here needs a thread pointer.
//!
//! # Safety
//! This file exists because system calls take addresses. Each gets that of a word or mask that outlives the call.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicI32, Ordering};

use crate::run::cpu::calls;

/// The kernel's number of the calling thread.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: always succeeds and touches no memory.
    let id = unsafe { calls::system_call(linux_raw_sys::general::__NR_gettid, [0; 4]) };
    i32::try_from(id).unwrap_or(0)
}

/// The kernel's number of the process; 0 if it does not say.
pub(crate) fn process_id() -> u32 {
    // SAFETY: touches no memory.
    let id = unsafe { calls::system_call(linux_raw_sys::general::__NR_getpid, [0; 4]) };
    u32::try_from(id).unwrap_or(0)
}

/// Whether a file is open under that number.
pub(crate) fn is_open(descriptor: usize) -> bool {
    const F_GETFD: usize = 1;
    // SAFETY: touches no memory.
    unsafe { calls::system_call(linux_raw_sys::general::__NR_fcntl, [descriptor, F_GETFD, 0, 0]) >= 0 }
}

fn futex(word: &AtomicI32, operation: usize, value: i32) {
    const FUTEX_PRIVATE_FLAG: usize = 128;
    let word = word.as_ptr().expose_provenance();
    // The kernel looks at the low half.
    let value = usize::try_from(value.cast_unsigned()).unwrap_or(0);
    let arguments = [word, operation | FUTEX_PRIVATE_FLAG, value, 0];
    // SAFETY: a word of ours; a wait that fails or wakes early is repeated by its caller.
    unsafe { calls::system_call(linux_raw_sys::general::__NR_futex, arguments) };
}

/// Waits while the word holds `value`; may wake early.
pub(crate) fn wait_while(word: &AtomicI32, value: i32) {
    futex(word, 0, value);
}

/// Wakes as many as `count` of those that wait.
pub(crate) fn wake(word: &AtomicI32, count: i32) {
    futex(word, 1, count);
}

/// Sets the calling thread's signal mask; answers the one before, `None` if it is still that.
pub(crate) fn set_signal_mask(mask: u64) -> Option<u64> {
    const SIG_SETMASK: usize = 2;
    let mut old = 0u64;
    let new = (&raw const mask).expose_provenance();
    let place = (&raw mut old).expose_provenance();
    let number = linux_raw_sys::general::__NR_rt_sigprocmask;
    // SAFETY: masks of eight bytes, as the kernel's.
    let result = unsafe { calls::system_call(number, [SIG_SETMASK, new, place, 8]) };
    (result == 0).then_some(old)
}

/// Signals are blocked, as far as the kernel lets us, until this is dropped.
pub(crate) struct Blocked {
    before: Option<u64>,
}

impl Blocked {
    pub(crate) fn new() -> Self {
        Self { before: set_signal_mask(u64::MAX) }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // The kernel took a mask a moment ago; whoever forbids the way back has to live with that.
            let _ = set_signal_mask(before);
        }
    }
}

/// A lock that its owner may take again.
///
/// Whoever takes it first lets it go, and that is all that is kept of its depth: so the handler of a signal may take it at
/// any instant, too, between the taking and the noting of it as well.
pub(crate) struct Lock {
    /// 0, or the owner's id, with [`CONTENDED`] if somebody may be waiting.
    owner: AtomicI32,
}

const CONTENDED: i32 = 1 << 30;

/// The lock is held; it is let go when this is dropped.
pub(crate) struct Held<'l> {
    lock: &'l Lock,
    /// Whether the thread had it before, and keeps it.
    again: bool,
}

impl Lock {
    pub(crate) const fn new() -> Self {
        Self { owner: AtomicI32::new(0) }
    }

    /// Whether the calling thread has it.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) & !CONTENDED == thread_id()
    }

    /// Waits for the lock, and takes it.
    pub(crate) fn hold(&self) -> Held<'_> {
        let thread = thread_id();
        let mut mine = thread;
        loop {
            match self.owner.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Held { lock: self, again: false },
                Err(owner) if owner & !CONTENDED == thread => return Held { lock: self, again: true },
                Err(owner) => {
                    let contended = owner | CONTENDED;
                    let marked =
                        self.owner.compare_exchange(owner, contended, Ordering::Relaxed, Ordering::Relaxed);
                    if marked.is_ok() {
                        wait_while(&self.owner, contended);
                    }
                    // Others may be waiting, too, whom nobody else would wake.
                    mine = thread | CONTENDED;
                }
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.again && self.lock.owner.swap(0, Ordering::Release) & CONTENDED != 0 {
            wake(&self.lock.owner, 1);
        }
    }
}
