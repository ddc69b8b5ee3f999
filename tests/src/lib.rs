//! Runs the fixtures of `tests/fixtures` under the staged loaders, and the loader's library over files in memory.
//!
//! A fixture is one source file: a program of a few lines that exits 17 if all is well, its libraries in the same
//! file (`#if defined IN_libone`), and `//#` directives that say how it is built and what it must say and do
//! ([`recipe`] lists them). `tests/fixtures.rs` makes one test of each fixture, variant, loader and user.
//!
//! | target | what it tests |
//! |---|---|
//! | `fixtures` | whole programs: what works and what is refused, under both loaders, as root and as an ordinary user |
//! | `loaders` | the same objects under slulrtld, glibc's `ld.so` and musl's, from several toolchains |
//! | `worlds` | the same program under slulrtld, lazily and eagerly, and as an ordinary executable with crt0 |
//! | `hostile` | whole processes in hostile surroundings: failing system calls, limits, files that change |
//! | `mutants` | broken files: real mapper against memory, and for real |
//! | `in_memory` | the loader's library over files in memory |
//! | `ways` | every way in, in a root directory of its own: what the program sees, and what is refused |
//! | `gdb` | what a debugger sees, in a process and in a core file, and what a profiler |
//! | `tidy` | rules that the sources keep |
//!
//! | module | what it does |
//! |---|---|
//! | [`directive`] | text of a fixture -> directives; unknown variants are errors |
//! | [`recipe`] | directives -> what to build, run and expect, a value for each variant; unknown directives are errors |
//! | [`part`] | a shared object beside the program, likewise |
//! | [`stage`] | where the loaders under test are |
//! | [`workdir`] | a directory of one build, which any user can read |
//! | [`build`] | a recipe -> files in a work directory, made by gcc and rustc |
//! | [`objects`] | object files that many cases have in common, each compiled once |
//! | [`damage`] | a sound ELF file -> one with a certain fault |
//! | [`launch`] | runs a program as a certain user, never for longer than a minute |
//! | [`expectation`] | what came of it, against the recipe |
//! | [`memory`] | the loader's library on the host: files and memory of its own, no process |
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "runs on the host, over its own fixtures: an overflow is a panic, and that a failed test"
)]

pub mod build;
pub mod damage;
pub mod directive;
pub mod expectation;
pub mod launch;
pub mod memory;
pub mod objects;
pub mod part;
pub mod recipe;
pub mod stage;
pub mod workdir;
