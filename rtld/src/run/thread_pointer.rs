//! The calling thread's thread pointer: the one that the loader or libc has set, or one of the program's own.
//!
//! # Safety
//! This file exists because the words of a thread's TCB are found by an address in a register.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rtld::base::addr::{PageSize, RuntimeAddr, from_usize};
use rtld::error::Problem;
use rtld::machine::{Native, canary_word};

use crate::run::cpu::calls::{present_thread_pointer, thread_pointer};
use crate::run::kernel::can_read;

/// The thread pointer that the main thread has, as the loader or libc has set it; 0 if none is set.
pub(crate) static THREAD_POINTER: AtomicUsize = AtomicUsize::new(0);

/// Whether libc has set it.
static IS_LIBCS: AtomicBool = AtomicBool::new(false);

/// Takes the calling thread's thread pointer for the main thread's, once libc has set it.
pub(crate) fn is_now_libcs() {
    // SAFETY: libc has started.
    THREAD_POINTER.store(unsafe { thread_pointer() }, Ordering::Relaxed);
    IS_LIBCS.store(true, Ordering::Release);
}

/// Checks that the calling thread is one of libc's, if libc is there: the main thread, as libc has left it, or one whose TCB
/// has the same canary, which glibc and musl give to each, and which nobody can know.
///
/// # Errors
/// [`Problem::ForeignThread`] in any other.
pub(crate) fn is_libcs(page: PageSize) -> Result<(), Problem<'static>> {
    if IS_LIBCS.load(Ordering::Acquire) { require_known(page) } else { Ok(()) }
}

/// Checks that the calling thread's thread pointer [is known](is_known).
///
/// # Errors
/// [`Problem::ForeignThread`] in any other.
#[inline(never)]
pub(crate) fn require_known(page: PageSize) -> Result<(), Problem<'static>> {
    if is_known(page) {
        return Ok(());
    }
    let found = present_thread_pointer().ok_or(Problem::ThreadPointer)?;
    let left = THREAD_POINTER.load(Ordering::Relaxed);
    Err(Problem::ForeignThread { found: from_usize(found), left: from_usize(left) })
}

/// Whether the calling thread's thread pointer is the one that the loader has set or, once libc is there, that of a thread of
/// libc's. Where the kernel does not tell, it is taken for that.
#[inline(never)]
pub(crate) fn is_known(page: PageSize) -> bool {
    const WORD: usize = size_of::<usize>();
    let left = THREAD_POINTER.load(Ordering::Relaxed);
    let Some(found) = present_thread_pointer() else { return !IS_LIBCS.load(Ordering::Acquire) };
    let canary = canary_word::<Native>().unwrap_or(0);
    let size = canary.saturating_add(1).saturating_mul(WORD);
    // SAFETY: the TCB of the main thread is there, and the other can be read.
    let word = |tp: usize, index: usize| unsafe {
        ptr::with_exposed_provenance::<usize>(tp.wrapping_add(index.wrapping_mul(WORD))).read_unaligned()
    };
    let readable = || found != 0 && can_read(RuntimeAddr(from_usize(found)), size, page);
    found == left
        || IS_LIBCS.load(Ordering::Acquire)
            && readable()
            && word(found, 0) == found
            && word(found, canary) == word(left, canary)
}
