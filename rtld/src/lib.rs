//! slulrtld as a library: everything of the loader that can run anywhere.
//!
//! # How a start flows
//!
//! ```text
//! handoff   argc, argv, envp, auxv as the kernel left them        handoff.rs
//! command   executed by its own name: what to run                 command_line.rs
//! headers   ELF header -> checked                                 headers.rs
//! plan      program headers -> what to map, as a value            plan.rs
//! dynamic   PT_DYNAMIC -> tables inside the object                dynamic.rs
//! load      DT_NEEDED -> modules, breadth first                   load.rs, resolve.rs, search.rs
//! relocate  entries -> words                                      reloc.rs, symbol.rs, version.rs, namespace.rs
//! seal      RELRO; order of initialisation                        load.rs, init.rs
//! native    what libc is to bind, and what its ld.so is shown     native/
//! ```
//!
//! Each phase is a type that the next one consumes. What touches the outside does so through [`seam`], so the
//! same code runs in a starting process, on the host over byte vectors, and under a fuzzer. The program
//! `slulrtld` (`bin/slulrtld`) holds only what a host can not run.
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

pub mod addr;
pub mod arena;
pub mod auxv;
pub mod calls;
pub mod command_line;
pub mod definitions;
pub mod dynamic;
pub mod eh_frame;
pub mod elf;
pub mod errno;
pub mod error;
pub mod fault;
pub mod find;
pub mod gnu_hash;
pub mod handoff;
pub mod hash;
pub mod headers;
pub mod init;
pub mod installed;
pub mod invocation;
pub mod libraries;
pub mod load;
pub mod machine;
pub mod mapped;
pub mod namespace;
pub mod native;
pub mod note;
pub mod opened;
pub mod plan;
pub mod problem;
pub mod record;
pub mod reloc;
pub mod report;
pub mod resolve;
pub mod seam;
pub mod search;
pub mod stubs;
pub mod symbol;
pub mod sys;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod version;
