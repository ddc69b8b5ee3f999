//! Whether libc is there: it is.
#![forbid(unsafe_code)]

/// 2: present.
pub(crate) const fn state() -> i32 {
    2
}

/// There is a libc to leave the process by.
pub(crate) const fn is_bound() -> bool {
    true
}
