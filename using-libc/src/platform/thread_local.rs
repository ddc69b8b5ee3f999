//! The main thread's thread-local storage for program and libraries.
#![forbid(unsafe_code)]

/// The main thread's block.
#[derive(Clone, Copy)]
pub(crate) struct ThreadLocal {
    /// Size in bytes.
    pub(crate) size: usize,
}
