//! slulrtld as a library: everything of the loader that can run anywhere.
//!
//! # How a start flows
//!
//! ```text
//! handoff   argc, argv, envp, auxv as the kernel left them        start/handoff.rs
//! command   executed by its own name: what to run                 start/command_line.rs
//! headers   ELF header -> checked                                 elf/headers.rs
//! plan      program headers -> what to map, as a value            elf/plan.rs
//! dynamic   PT_DYNAMIC -> tables inside the object                elf/dynamic.rs
//! load      DT_NEEDED -> modules, breadth first                   link/load.rs, link/resolve.rs, link/search.rs
//! relocate  entries -> words                                      link/reloc/mod.rs, elf/symbol.rs, elf/version.rs, link/namespace.rs
//! seal      RELRO; order of initialisation                        link/load.rs, link/init.rs
//! native    what libc is to bind, and what its ld.so is shown     native/
//! ```
//!
//! Each phase is a type that the next one consumes. What touches the outside does so through [`seam`], so the
//! same code runs in a starting process, on the host over byte vectors, and under a fuzzer. The program
//! `slulrtld` (`bin/slulrtld`, and `run`, which it shares with `slulrtld-using-libc`) holds only what a host can not run.
//!
//! `unsafe` is fenced: the files that allow it say why in a `# Safety` section; all others forbid it.
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
