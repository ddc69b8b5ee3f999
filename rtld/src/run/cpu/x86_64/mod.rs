//! x86_64.

pub(crate) mod common;
pub(crate) mod stubs;
