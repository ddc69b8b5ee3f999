//! How a start is described: the kernel's block, the environment, the command line, the installed files.
#![forbid(unsafe_code)]

pub mod auxv;
pub mod command_line;
pub mod handoff;
pub mod installed;
pub mod invocation;
