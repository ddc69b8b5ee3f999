//! The other world: what belongs to the system's libc and is loaded by its own ld.so.
//!
//! Here is everything about it that can be computed as a value: what is needed ([`needs`]), which libc
//! serves it ([`choose`]), the executable that ld.so is shown ([`template`]), and the block of argc, argv,
//! envp and auxv that it is given ([`crate::start::handoff`]). Entering it is the program's part
//! (`bin/slulrtld/platform/bogomap.rs`).
#![forbid(unsafe_code)]

pub mod choose;
pub mod describe;
pub mod needs;
pub mod notice;
mod tables;
pub mod template;
pub mod tunables;
