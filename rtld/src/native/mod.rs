//! The other world: the files that belong to the system's libc and are loaded by libc's own ld.so.
//!
//! This folder computes everything about it that is a value: what is needed ([`needs`]), which libc serves it
//! ([`choose`]), which of it is missing ([`missing`]), and the executable that ld.so is shown ([`template`]). The block of argc, argv, envp and auxv for
//! ld.so comes from [`crate::start::handoff`]. The program enters ld.so (`bin/slulrtld/platform/bogomap.rs`).
#![forbid(unsafe_code)]

pub mod built_in;
pub mod cache;
pub mod choose;
pub mod describe;
pub mod directory;
pub mod environment;
pub mod missing;
pub mod needs;
pub mod notice_file;
mod tables;
pub mod template;
pub mod tunables;
pub mod walk;
