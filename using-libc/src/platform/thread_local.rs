//! Thread-local storage of program and libraries.
#![forbid(unsafe_code)]

/// The main thread's block.
#[derive(Clone, Copy)]
pub(crate) struct ThreadLocal {
    /// Its size in bytes.
    pub(crate) size: usize,
}
