//! x86_64.

mod enter;
mod mem;

pub(crate) use enter::*;
