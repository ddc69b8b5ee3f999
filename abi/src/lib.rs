//! What SLUL binaries, the loader and the tools around it agree on, each fact in one place.
//!
//! | module | holds |
//! |---|---|
//! | [`note`] | the notes of programs, libraries, stubs and loader |
//! | [`stub`] | the contract between the stubs of `rt0/asm` and the loader |
//! | [`export`] | what the loader exports, with the C type of each |
//! | [`marker`] | the byte that marks a file for binfmt_misc, and how the handler is called |
//! | [`line`](mod@line) | files that begin with `#!` |
//! | [`arch`] | the machines |
//! | [`libcs`] | the system's libcs, by their names |
//! | [`libcs_here`] | their interpreters and sonames on the machine that this is compiled for |
//! | [`notice`] | how a process says that libc was brought into it |
//! | [`paths`] | where files are installed, and where libraries are searched for |
//!
//! The C interface is `include/slul.h`; a test compiles it, and compares it with these modules.
//!
//! Everything in this crate may end up inside users' binaries, hence its licence (`0BSD OR MIT OR Apache-2.0`) and the
//! absence of dependencies.
#![no_std]
#![forbid(unsafe_code)]

pub mod arch;
pub mod export;
pub mod libcs;
pub mod libcs_here;
pub mod line;
pub mod marker;
pub mod note;
pub mod notice;
pub mod paths;
pub mod stub;
