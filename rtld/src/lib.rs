//! slulrtld as a library: the part of the loader that runs on any host.
//!
//! # The phases of a start
//!
//! ```text
//! handoff   reads argc, argv, envp and auxv of the kernel's block  start/handoff.rs
//! command   parses the loader's own command line, if executed      start/command_line.rs
//! headers   checks the ELF header                                  elf/headers.rs
//! plan      computes the mappings from the program headers         elf/plan.rs
//! dynamic   decodes PT_DYNAMIC into tables inside the object       elf/dynamic.rs
//! load      maps the DT_NEEDED libraries, breadth first            link/load.rs, resolve.rs, search.rs, file.rs
//! relocate  looks symbols up, writes the relocated words           link/reloc/, link/namespace.rs, elf/symbol.rs
//! seal      makes RELRO read-only, orders initialisation           link/load.rs, link/init.rs
//! native    computes the executable that libc's ld.so is shown     native/
//! ```
//!
//! The result of each phase is a type that the next phase consumes. All access to the outside goes through
//! [`os::seam`], so the same code runs in a starting process, on the host over byte vectors, and under a fuzzer. The
//! program `slulrtld` (`bin/slulrtld`, and `run`, which it shares with `slulrtld-using-libc`) contains the rest, which
//! no host can run.
//!
//! `unsafe` is fenced: each file that allows it says why in a `# Safety` section; all others forbid it.
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        reason = "a test that overflows fails, as it should"
    )
)]

#[cfg(test)]
extern crate std;

pub mod base;
pub mod elf;
pub mod error;
pub mod link;
pub mod machine;
pub mod native;
pub mod open;
pub mod os;
pub mod start;
