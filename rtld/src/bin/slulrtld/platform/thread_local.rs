//! The main thread's thread-local storage for program and libraries.
//!
//! # Safety
//! This file exists because the block is in use by the program, and is read here while no code of it runs.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// The main thread's block.
#[derive(Clone, Copy)]
pub(crate) struct ThreadLocal {
    /// Address of the block.
    pub(crate) block: NonNull<u8>,
    /// Size in bytes.
    pub(crate) size: usize,
    /// Alignment in bytes.
    pub(crate) align: usize,
}

impl ThreadLocal {
    /// Offset behind the last word of the block that is not 0.
    pub(crate) fn end_of_values(&self) -> usize {
        const WORD: usize = size_of::<u64>();
        let words =
            NonNull::slice_from_raw_parts(self.block.cast::<u64>(), self.size.checked_div(WORD).unwrap_or(0));
        // SAFETY: the main thread's block, of words since that is its alignment, which stays. This is the main thread, and no
        // handler interrupts it.
        let words = unsafe { words.as_ref() };
        words.iter().rposition(|&word| word != 0).map_or(0, |last| last.wrapping_add(1).wrapping_mul(WORD))
    }
}

/// A copy of the block's beginning, up to where there are only zeros; `None` without a block.
pub(crate) type Snapshot = Option<NonNull<[u8]>>;
