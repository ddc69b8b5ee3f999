//! Thread-local storage of program and libraries.
#![forbid(unsafe_code)]

use core::ptr::NonNull;

/// The main thread's block.
#[derive(Clone, Copy)]
pub(crate) struct ThreadLocal {
    /// Where it is.
    pub(crate) block: NonNull<u8>,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// Its alignment in bytes.
    pub(crate) align: usize,
}
