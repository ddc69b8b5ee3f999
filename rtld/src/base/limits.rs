//! Limits of the kernel's for names of files.
#![forbid(unsafe_code)]

/// Longest path in bytes, its NUL included (Linux: <linux/limits.h>).
pub const PATH_MAX: usize = 4096;

/// Longest name of a file in a directory, in bytes, without a NUL (Linux: <linux/limits.h>).
pub const NAME_MAX: usize = 255;
