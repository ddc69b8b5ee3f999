//! The circumstances of a start: the kernel's block, the environment, the command line, the installed files.
#![forbid(unsafe_code)]

pub mod auxv;
pub mod command_line;
pub mod handoff;
pub mod installed;
pub mod invocation;
