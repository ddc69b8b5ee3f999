//! Processes, threads and signals by the kernel's own means: ids, locks, waiting, masks. Nothing here needs a thread
//! pointer.
//!
//! # Safety
//! This file exists because system calls take addresses. Each gets that of a word or mask that outlives the call.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicI32, Ordering};

use rtld::base::addr::to_usize;

use crate::platform::image;
use crate::run::cpu::number::SIGXFSZ;
use crate::run::cpu::{calls, number};

/// The kernel's id of the calling thread.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: always succeeds and touches no memory.
    let id = unsafe { calls::system_call(number::GETTID, [0; 4]) };
    i32::try_from(id).unwrap_or(0)
}

/// The kernel's id of the process; 0 if it does not answer.
pub(crate) fn process_id() -> u32 {
    // SAFETY: touches no memory.
    let id = unsafe { calls::system_call(number::GETPID, [0; 4]) };
    u32::try_from(id).unwrap_or(0)
}

/// Whether `descriptor` is open.
pub(crate) fn is_open(descriptor: usize) -> bool {
    const F_GETFD: usize = 1;
    // SAFETY: touches no memory.
    unsafe { calls::system_call(number::FCNTL, [descriptor, F_GETFD, 0, 0]) >= 0 }
}

fn futex(word: &AtomicI32, operation: usize, value: i32) {
    const FUTEX_PRIVATE_FLAG: usize = 128;
    let word = word.as_ptr().expose_provenance();
    // The kernel reads the low 32 bits.
    let value = usize::try_from(value.cast_unsigned()).unwrap_or(0);
    let arguments = [word, operation | FUTEX_PRIVATE_FLAG, value, 0];
    // SAFETY: a word of the loader's; the caller repeats a wait that fails or wakes early.
    unsafe { calls::system_call(number::FUTEX, arguments) };
}

/// Waits while the word holds `value`. May return early.
pub(crate) fn wait_while(word: &AtomicI32, value: i32) {
    futex(word, 0, value);
}

/// Wakes at most `count` waiting threads.
pub(crate) fn wake(word: &AtomicI32, count: i32) {
    futex(word, 1, count);
}

/// Sets the calling thread's signal mask. Returns the former mask; `None` if the kernel refuses, so that it is still in
/// force.
pub(crate) fn set_signal_mask(mask: u64) -> Option<u64> {
    const SIG_SETMASK: usize = 2;
    change_signal_mask(SIG_SETMASK, mask)
}

fn change_signal_mask(how: usize, mask: u64) -> Option<u64> {
    let mut old = 0u64;
    let new = (&raw const mask).expose_provenance();
    let place = (&raw mut old).expose_provenance();
    // SAFETY: masks of eight bytes, the size of the kernel's.
    let result = unsafe { calls::system_call(number::RT_SIGPROCMASK, [how, new, place, 8]) };
    (result == 0).then_some(old)
}

/// Calls `write`, which writes to a file, without the signal that the kernel sends where the file may not become larger
/// (SIGXFSZ, by RLIMIT_FSIZE): the write fails with EFBIG, and the process goes on.
pub(crate) fn without_size_signal<T>(write: impl FnOnce() -> T) -> T {
    const SIG_BLOCK: usize = 0;
    let signal = 1u64 << SIGXFSZ.wrapping_sub(1);
    let before = change_signal_mask(SIG_BLOCK, signal);
    let result = write();
    if let Some(before) = before.filter(|before| before & signal == 0) {
        let (set, now) = ((&raw const signal).expose_provenance(), [0u64; 2]);
        let now = (&raw const now).expose_provenance();
        // The program has not blocked it, so one that is pending is from the write above.
        // SAFETY: a mask of eight bytes, and a time of no length.
        unsafe { calls::system_call(number::RT_SIGTIMEDWAIT, [set, 0, now, 8]) };
        let _ = set_signal_mask(before);
    }
    result
}

/// Blocks all signals, as far as the kernel permits, until it is dropped.
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
            // The kernel set a mask a moment ago. If it now refuses to set the former one, there is no remedy.
            let _ = set_signal_mask(before);
        }
    }
}

/// Whether a thread is neither in this process nor in one that has the same memory: it had a lock, or was doing something, when
/// this process was forked.
pub(crate) fn is_gone(thread: i32) -> bool {
    const ESRCH: isize = -3;
    let (process, thread) = (to_usize(process_id().into()), usize::try_from(thread).unwrap_or(0));
    // SAFETY: touches no memory; signal 0 is none.
    let asked = unsafe { calls::system_call(number::TGKILL, [process, thread, 0, 0]) };
    asked == ESRCH && !image::shares_memory()
}

/// A lock that its owner may take again.
///
/// The outermost holder releases it, and no depth is counted: so a signal handler may take the lock at any instant,
/// even between the taking and a count of it.
pub(crate) struct Lock {
    /// 0, or the owner's thread id, with [`CONTENDED`] added if another thread may be waiting.
    owner: AtomicI32,
}

const CONTENDED: i32 = 1 << 30;

/// A lock that is held. Dropping the value releases it.
pub(crate) struct Held<'l> {
    lock: &'l Lock,
    /// Whether the thread held the lock before, and keeps it after the drop.
    again: bool,
}

impl Lock {
    pub(crate) const fn new() -> Self {
        Self { owner: AtomicI32::new(0) }
    }

    /// Whether the calling thread holds the lock.
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
                Err(owner) if is_gone(owner & !CONTENDED) => {
                    // A child of a process whose thread had the lock, which is not in the child.
                    if self.owner.compare_exchange(owner, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        return Held { lock: self, again: false };
                    }
                }
                Err(owner) => {
                    let contended = owner | CONTENDED;
                    let marked =
                        self.owner.compare_exchange(owner, contended, Ordering::Relaxed, Ordering::Relaxed);
                    if marked.is_ok() {
                        wait_while(&self.owner, contended);
                    }
                    // Further threads may be waiting, and this thread must wake the next of them.
                    mine = thread | CONTENDED;
                }
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.again {
            self.lock.release();
        }
    }
}

impl Held<'_> {
    /// Whether the thread had the lock before.
    pub(crate) const fn is_again(&self) -> bool {
        self.again
    }
}

impl Lock {
    /// Releases the lock for its owner, which is this thread, or was before a fork.
    fn release(&self) {
        if self.owner.swap(0, Ordering::Release) & CONTENDED != 0 {
            wake(&self.owner, 1);
        }
    }

    /// Takes the lock for a fork that libc is about to make; `false` if the thread has it already. Neither this process nor its
    /// child has a half-changed list then.
    pub(crate) fn hold_for_fork(&self) -> bool {
        let mut held = self.hold();
        let taken = !held.again;
        held.again = true;
        taken
    }

    /// Releases the lock after a fork, in the process or in its child.
    pub(crate) fn release_after_fork(&self) {
        self.release();
    }
}
