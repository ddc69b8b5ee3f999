//! The full start of a program whose start was deferred (`early/deferred.rs`): at its first native call, once.
//!
//! A first-call stub comes here with all registers saved that can carry an argument. Until the loader is relocated, which
//! the one thread does that gets [`STARTED`], nothing here needs an address that is not right yet; the audit reads the
//! machine code for it. Other threads wait, and so does a signal: it is blocked where the full start is made, and what
//! handlers call elsewhere waits as threads do.
//!
//! What the full start reads is what it would have read before the program's first instruction: the kernel's block, of which
//! the program has a copy of its own, and the program's headers and tables, which nothing can have changed. It makes
//! nothing a second time that the deferred start has made.
//!
//! # Safety
//! This file exists because the block and its copy are found by address, and the loader's pages become writable.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "ids of threads are small, and what checks that would be a call"
)]

use core::ptr;
use core::sync::atomic::Ordering;

use linux_raw_sys::general::{
    __NR_exit_group, __NR_futex, __NR_mprotect, __NR_rt_sigprocmask, __NR_write, FUTEX_PRIVATE_FLAG, FUTEX_WAIT,
    FUTEX_WAKE, PROT_READ, PROT_WRITE, SIG_SETMASK,
};
use rtld::base::addr::{RuntimeAddr, from_usize};

use crate::cpu::ops::{call, load, own_places};
use crate::early::bootstrap::slul_relocate_self;
use crate::early::deferred::Left;
use crate::early::saved::slul_saved_block;
use crate::early::sharing::{SHARED_LINE, slul_shares_memory};
use crate::run::begin::{self, When};
use crate::run::kept::LeftForLate;
use crate::run::kernel::{Block, string};
use crate::run::last_words::{REFUSED, refuse};
use crate::run::process::{DONE, STARTED};

/// [`STARTED`] while a thread makes the full start; while others wait for that, too.
const MAKING: i32 = 1;
const AWAITED: i32 = 2;

/// Size of a signal mask in bytes.
const MASK: usize = 8;

/// Makes the full start, or waits until it has been made.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn slul_late_start() {
    let block = slul_saved_block();
    if block == 0 {
        give_up(b"slulrtld: a first native call where PR_GET_AUXV is forbidden\n");
    }
    // SAFETY: what `slul_enter_deferred` has left below the block.
    let id: usize = unsafe { load(block.wrapping_sub(16)) };
    // Memory of a parent must not change.
    if slul_shares_memory(id) {
        give_up(SHARED_LINE);
    }
    let (header, _, variables, end) = own_places();
    let (size, protection) = (end.wrapping_sub(variables), (PROT_READ | PROT_WRITE) as usize);
    // SAFETY: the loader's variables, which stay writable from the first time on.
    let result = unsafe { call(__NR_mprotect, [variables, size, protection, 0, 0, 0]) };
    if result != 0 {
        give_up(FAILED);
    }
    loop {
        let (all, mut before) = (u64::MAX, 0u64);
        let (new, old) = ((&raw const all) as usize, (&raw mut before) as usize);
        // SAFETY: masks of the size that the kernel's have.
        if unsafe { call(__NR_rt_sigprocmask, [SIG_SETMASK as usize, new, old, MASK, 0, 0]) } != 0 {
            give_up(FAILED);
        }
        let begun = STARTED.compare_exchange(0, MAKING, Ordering::AcqRel, Ordering::Acquire);
        if begun.is_ok() {
            // SAFETY: nobody else has done it, or will.
            unsafe { slul_relocate_self(header) };
            slul_late_main(block, id);
            // Before signals are let in again: a handler may not come back.
            if STARTED.swap(DONE, Ordering::AcqRel) == AWAITED {
                wake_all();
            }
        }
        // SAFETY: the mask as it was.
        unsafe { call(__NR_rt_sigprocmask, [SIG_SETMASK as usize, old, 0, MASK, 0, 0]) };
        let word = STARTED.as_ptr() as usize;
        match begun {
            Ok(_) | Err(DONE) => return,
            Err(_) => {
                let _ = STARTED.compare_exchange(MAKING, AWAITED, Ordering::Relaxed, Ordering::Relaxed);
                let wait = (FUTEX_WAIT | FUTEX_PRIVATE_FLAG) as usize;
                // SAFETY: a word of ours, on which a wait ends early if it is another already.
                unsafe { call(__NR_futex, [word, wait, AWAITED as usize, 0, 0, 0]) };
            }
        }
    }
}

/// Wakes the threads that wait for [`STARTED`].
#[inline(always)]
fn wake_all() {
    let wake = (FUTEX_WAKE | FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: a word of ours.
    unsafe { call(__NR_futex, [STARTED.as_ptr() as usize, wake, i32::MAX as usize, 0, 0, 0]) };
}

const FAILED: &[u8] = b"slulrtld: mprotect or rt_sigprocmask failed at the first native call\n";

/// Ends the process, with a line: the loader can not begin.
#[inline(always)]
fn give_up(text: &[u8]) -> ! {
    const STDERR: usize = 2;
    loop {
        // SAFETY: a string; the end of the process.
        unsafe {
            call(__NR_write, [STDERR, text.as_ptr() as usize, text.len(), 0, 0, 0]);
            call(__NR_exit_group, [REFUSED as usize, 0, 0, 0, 0, 0]);
        }
    }
}

/// The full start, once the loader is relocated: loads what is loaded already. The kernel's block is at `block`, and `id` is the
/// process that was started.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_late_main(block: usize, id: usize) {
    // SAFETY: what the deferred start has left there, which nothing overwrites: the program's stack ends below it.
    let left: Left = unsafe { ptr::with_exposed_provenance::<Left>(block.wrapping_sub(size_of::<Left>())).read() };
    // SAFETY: the block as the kernel left it; the program has its own, and knows nothing of this one.
    let block = unsafe { Block::at(block) };
    let copy = from_usize(left.copy);
    let variable = left.number.checked_sub(1).map(|index| {
        let behind = copy.wrapping_add(from_usize(block.words().len()).wrapping_mul(8));
        // SAFETY: the string follows the copy, and is not the program's.
        (index, unsafe { string(behind) })
    });
    // It was the program that the kernel has started: this loader was not entered as one.
    let late = LeftForLate { copy, id: id as u32, root: left.root, variable };
    let process = begin::load(block, When::Late(late), RuntimeAddr(0));
    begin::begin_late(process.unwrap_or_else(|error| refuse(&error)));
}
