//! Whether another process has this one's memory: before anything in it is changed for good.
//!
//! # Safety
//! This file exists because system calls are made before the loader is relocated.
#![allow(unsafe_code)]

use linux_raw_sys::errno::EINVAL;
use linux_raw_sys::general::{__NR_getpid, __NR_getppid, __NR_kcmp, __NR_unshare, CLONE_VM};

use crate::cpu::ops::call;

/// What the user is told who makes a deferred start end there; otherwise there is `Problem::SharedMemory`.
pub(crate) const SHARED_LINE: &[u8] =
    b"slulrtld: the first native call is in a child that has its parent's memory (vfork, or \
    clone with CLONE_VM); call slul_load_libc() before, or have the child made by fork\n";

/// Whether this process has its parent's memory. vfork(2) makes such a child, and clone(2) with CLONE_VM and without
/// CLONE_THREAD. `id` is that of the process that was started: it has memory of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn slul_shares_memory(id: usize) -> bool {
    // Of <linux/kcmp.h>.
    const KCMP_VM: usize = 1;
    // SAFETY: touches no memory.
    let own = unsafe { call(__NR_getpid, [0; 6]) };
    if own == id {
        return false;
    }
    // A child of the process. The kernel knows no way to give a process that has one thread, and its memory for itself, that
    // memory for itself: it does nothing then, and refuses otherwise (unshare(2)).
    // SAFETY: touches no memory.
    let unshared = unsafe { call(__NR_unshare, [CLONE_VM as usize, 0, 0, 0, 0, 0]) };
    if unshared == 0 {
        return false;
    }
    // It may have further threads, or a filter forbids that.
    // SAFETY: touches no memory.
    let parent = unsafe { call(__NR_getppid, [0; 6]) };
    // The parent is in another PID namespace, and can not be asked about.
    if parent == 0 {
        return unshared == (EINVAL as usize).wrapping_neg();
    }
    // SAFETY: touches no memory.
    unsafe { call(__NR_kcmp, [own, parent, KCMP_VM, 0, 0, 0]) == 0 }
}
