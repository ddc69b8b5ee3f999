//! Calls between this process's two worlds: native needs gathered and bound, and libc's own functions.

pub(crate) mod binding;
pub(crate) mod gather;
pub(crate) mod libc;
pub(crate) mod natives;
pub(crate) mod optional;
