//! The stack on which libc starts: a mapping of its own, at the top of which is libc's block. Native constructors run there,
//! and the frames of `__libc_start_main` stay. So the program's stack is what the kernel has made, all of it, whenever libc
//! comes, and whatever the program has done to its limit by then.
//!
//! # Safety
//! This file exists because a block is written, and work done, at the end of a fresh mapping.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::slice;

use rtld::base::addr::{from_usize, to_usize};
use rtld::base::arena::OutOfMemory;
use rtld::os::sys;

use crate::cpu::number;
use crate::cpu::ops::call_on_stack;
use crate::run::cpu::calls;

/// Least and largest size in bytes, if there is memory: native constructors get what RLIMIT_STACK would give them in an
/// ordinary process, where that is between these. The least is what Linux gives by default.
const LEAST: usize = 8 << 20;
const LARGEST: usize = 1 << 30;

/// Size in bytes without a limit.
const UNLIMITED: usize = 64 << 20;

/// With less there is no point in trying: most native constructors and all of ld.so take less than 64 KiB, a few take
/// hundreds.
const MINIMUM: usize = 512 << 10;

/// What is kept when libc has started, in bytes: for the frames that stay, and for what runs on top of them when the main
/// thread ends by pthread_exit(3).
const KEPT: usize = 256 << 10;

/// Size in bytes of the inaccessible pages at its lower end: more than the frame of any function that touches its stack at
/// least every 64 KiB.
const GUARD: usize = 64 << 10;

/// The stack, with libc's block at its top.
#[derive(Clone, Copy)]
pub(crate) struct LibcStack {
    memory: NonNull<[u8]>,
    block: NonNull<u64>,
    words: usize,
}

impl LibcStack {
    /// A fresh one, with a copy of the words.
    pub(crate) fn with_block(words: &[u64], executable: bool) -> Result<Self, OutOfMemory> {
        let wanted = match stack_limit() {
            StackLimit::Bytes(limit) => to_usize(limit).clamp(LEAST, LARGEST),
            StackLimit::Unlimited => UNLIMITED,
            StackLimit::Unknown => LEAST,
        };
        // Whole pages, whatever their size.
        let mut size = wanted & !(GUARD.wrapping_sub(1));
        let memory = loop {
            match sys::stack(size, GUARD, executable) {
                Some(memory) => break memory,
                None if size > MINIMUM => size = (size >> 1) & !(GUARD.wrapping_sub(1)),
                None => return Err(OutOfMemory(size)),
            }
        };
        let bytes = words.len().saturating_mul(8).checked_next_multiple_of(16).filter(|&bytes| bytes <= size >> 1);
        let offset = size.wrapping_sub(bytes.ok_or(OutOfMemory(size))?);
        // SAFETY: within the mapping.
        let block: NonNull<u64> = unsafe { memory.cast::<u8>().add(offset) }.cast();
        // SAFETY: fresh memory of that size.
        unsafe { block.as_ptr().copy_from_nonoverlapping(words.as_ptr(), words.len()) };
        Ok(Self { memory, block, words: words.len() })
    }

    /// Address of libc's block, and so of the end of what is free.
    pub(crate) fn block_address(self) -> u64 {
        from_usize(self.block.as_ptr().expose_provenance())
    }

    /// The words of libc's block.
    ///
    /// # Safety
    /// Nothing else refers to them.
    pub(crate) unsafe fn block(&mut self) -> &mut [u64] {
        // SAFETY: written when it was made; by the caller.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr(), self.words) }
    }

    /// Writes a word of libc's block; if `expected` is given, only where it is that now.
    ///
    /// # Safety
    /// It is one, and ld.so waits.
    pub(crate) unsafe fn restore(self, index: usize, value: u64, expected: Option<u64>) {
        // SAFETY: by the caller.
        let word = unsafe { self.block.as_ptr().add(index) };
        // SAFETY: by the caller.
        let now = unsafe { word.read() };
        if expected.is_none_or(|expected| expected == now) {
            // SAFETY: by the caller.
            unsafe { word.write(value) };
        }
    }

    /// Runs `work` on it: the caller may be on a small stack, and ld.so touches the same pages.
    ///
    /// # Safety
    /// Nothing is on it yet but the block.
    pub(crate) unsafe fn run(self, mut work: &mut dyn FnMut()) {
        extern "C" fn run(work: usize) {
            let work: *mut &mut dyn FnMut() = ptr::with_exposed_provenance_mut(work);
            // SAFETY: the reference below, which is not used otherwise while this runs.
            let work = unsafe { &mut *work };
            work();
        }
        let address = (&raw mut work).expose_provenance();
        // SAFETY: by the caller; a multiple of 16.
        unsafe { call_on_stack(self.block_address(), run, address) };
    }

    /// Gives it back.
    ///
    /// # Safety
    /// Nothing is on it.
    pub(crate) unsafe fn give_back(self) {
        // SAFETY: by the caller.
        unsafe { sys::give_back(self.memory) };
    }

    /// Gives back what is not needed once libc has started.
    ///
    /// # Safety
    /// libc has called its `main`, and nothing runs on this stack.
    pub(crate) unsafe fn trim(self) {
        let unneeded = self.memory.len().saturating_sub(KEPT.saturating_add(self.words.saturating_mul(8)));
        let unneeded = unneeded & !(GUARD.wrapping_sub(1));
        if unneeded != 0 {
            // SAFETY: by the caller: the lower part, which nothing refers to.
            unsafe { sys::give_back(NonNull::slice_from_raw_parts(self.memory.cast(), unneeded)) };
        }
    }
}

/// RLIMIT_STACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StackLimit {
    /// No limit.
    Unlimited,
    /// A limit in bytes.
    Bytes(u64),
    /// The kernel does not say.
    Unknown,
}

/// The limit of the stack's growth.
pub(crate) fn stack_limit() -> StackLimit {
    const RLIMIT_STACK: usize = 3;
    let mut limit = [u64::MAX; 2];
    let place = (&raw mut limit).expose_provenance();
    // SAFETY: `limit` has the layout of a struct rlimit64.
    match (unsafe { calls::system_call(number::PRLIMIT64, [0, RLIMIT_STACK, 0, place]) }, limit) {
        (0, [u64::MAX, _]) => StackLimit::Unlimited,
        (0, [current, _]) => StackLimit::Bytes(current),
        _ => StackLimit::Unknown,
    }
}
