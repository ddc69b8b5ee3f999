//! The state of libc in this process: present.
#![forbid(unsafe_code)]

use abi::export::LIBC_PRESENT;

/// It is present.
pub(crate) const fn state() -> i32 {
    LIBC_PRESENT
}

/// Whether the process can leave through libc's `exit`.
pub(crate) const fn is_bound() -> bool {
    true
}
