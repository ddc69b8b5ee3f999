//! The main thread's TCB and canary.
//!
//! # Safety
//! This file exists because a thread pointer is set, and AT_RANDOM is edited.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use rtld::base::addr::{from_usize, to_usize};
use rtld::base::arena::OutOfMemory;
use rtld::error::{Failure, Problem};

use crate::cpu::ops::set_thread_pointer;
use crate::platform::thread_local::ThreadLocal;
use crate::run::kernel::random;
use crate::run::process::Process;

/// Makes the main thread's TCB, and sets the thread pointer to it.
pub(crate) fn set_up(process: &mut Process) -> Result<(), Failure<'static>> {
    const TCB_SIZE: usize = 128;
    let size = to_usize(process.sealed.tls.size());
    let align = to_usize(process.sealed.tls.align());
    let area = process.arena.bytes(size.saturating_add(TCB_SIZE), align)?;
    let (block, tcb) = area.split_at_mut_checked(size).ok_or(OutOfMemory(size))?;
    process.sealed.fill_tls(block).map_err(|error| error.problem)?;
    let canary = canary(process)?;
    let tp = tcb.as_mut_ptr().expose_provenance();
    // Where the psABI and its code expect them: the TCB's own address in word 0 (and, for code that was
    // compiled against glibc's layout, in word 2), the canary in word 5.
    let words = [(0, from_usize(tp)), (2, from_usize(tp)), (5, canary)];
    for (word, value) in words {
        if let Some(place) = tcb.chunks_exact_mut(8).nth(word) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }
    if size != 0 {
        process.thread_local = Some(ThreadLocal { block: NonNull::from(block).cast(), size, align });
    }
    // SAFETY: a TCB that lives as long as the process.
    if unsafe { set_thread_pointer(tp, process.block.auxiliary().hwcap2()) } {
        Ok(())
    } else {
        Err(Problem::ThreadPointer.into())
    }
}

/// The stack protector's canary. glibc and musl will each make their own of AT_RANDOM, glibc with its
/// first byte zeroed and musl with its second; where both are zero already, all three are equal, and
/// frames that are alive when libc comes stay right.
fn canary(process: &Process) -> Result<u64, Failure<'static>> {
    const MASK: u64 = !0xffff;
    let [first, second] = random(&process.block).ok_or(Problem::NoRandom)?;
    if let Some(random) = process.block.random().filter(|_| process.gap.is_some()) {
        // SAFETY: AT_RANDOM's sixteen bytes, which the kernel put on our stack, and only the loader has read.
        unsafe { random.as_ptr().write_unaligned([first & MASK, second]) };
    }
    Ok(first & MASK)
}
