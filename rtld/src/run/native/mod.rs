//! Calls between the two worlds of this process: native needs are gathered and bound, and libc's own functions called.

pub(crate) mod binding;
pub(crate) mod gather;
pub(crate) mod libc;
pub(crate) mod missing;
pub(crate) mod natives;
pub(crate) mod optional;
pub(crate) mod publish;
