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
//! | `known` | what loaders got wrong before, done to ours: the table is in `docs/security.md` |
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
//! | [`start`] | a process in unusual surroundings, and the child that makes itself so |
//! | [`tracer`] | such a process, stopped at its first instruction and at its system calls |
//! | [`world`] | the programs of a test target, built once |
//! | [`cases`] | a list of cases -> tests, one a loader and user |
//! | [`verdict`] | what may come of a start: it runs as always, or is refused in one line |
//! | [`linked`] | programs of object files, linked for each way in |
//! | [`root`] | a root directory with the staged files installed, in namespaces of its own |
//! | [`classes`] | the table of `docs/security.md`, and that the tests which it names are there |
//! | [`memory`] | the loader's library on the host: files and memory of its own, no process |
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "runs on the host, over its own fixtures: an overflow is a panic, and that a failed test"
)]

pub mod build;
pub mod cases;
pub mod classes;
pub mod damage;
pub mod directive;
pub mod expectation;
pub mod launch;
pub mod linked;
pub mod machine;
pub mod memory;
pub mod objects;
pub mod part;
pub mod recipe;
pub mod root;
pub mod stage;
pub mod start;
pub mod tracer;
pub mod verdict;
pub mod workdir;
pub mod world;
