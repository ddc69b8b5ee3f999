//! The state of libc in this process: present.
#![forbid(unsafe_code)]

/// 2: present.
pub(crate) const fn state() -> i32 {
    2
}

/// Whether the process can leave through libc's `exit`.
pub(crate) const fn is_bound() -> bool {
    true
}
