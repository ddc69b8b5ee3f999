//! The main thread's thread-local storage for program and libraries.
#![forbid(unsafe_code)]

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
