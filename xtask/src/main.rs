//! The commands of the repository, `cargo xtask <command>`.
//!
//! | file | what |
//! |---|---|
//! | `repo` | the checkout, its target directory, and cargo's metadata |
//! | `run` | runs other programs, and prints that it does |
//! | `pin` | restricts processes to one CPU |
//! | `packages` | Debian packages, and what is left out without them |
//! | `loader` | builds the loader |
//! | `template` | builds the file that marks processes with a libc |
//! | `rt0` | assembles the stubs for programs without PT_INTERP |
//! | `stage` | lays out the installed files |
//! | `musl` | builds a zlib for musl, which no distribution has |
//! | `test` | all tests, the audit, and a quick run of the benches |
//! | `demo` | a libc-free program that calls the system's zlib |
//! | `bench` | costs of the loader, beside its peers |
//! | `count` | figures that repeat exactly |
//! | `least` | the smallest programs and the smallest interpreter |
//! | `fuzz` | fuzzes the library, and runs broken files under the loaders |
//! | `audit` | requirements on the built loader |
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a host tool: debug builds check overflow, and nothing here runs before main"
)]

mod audit;
mod bench;
mod count;
mod demo;
mod fuzz;
mod least;
mod link_stub;
mod loader;
mod musl;
mod packages;
mod pin;
mod repo;
mod rt0;
mod run;
mod stage;
mod template;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use abi::arch::NATIVE;
use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::loader::Profile;
use crate::repo::Repo;

/// Builds, stages, tests, shows and audits slulrtld.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lay out the installed files under a directory.
    Stage {
        /// The directory [default: target/stage, or target/stage-debug for the debug profile].
        #[arg(long)]
        destdir: Option<PathBuf>,
        /// The build of the loader.
        #[arg(long, value_enum, default_value_t = Profile::Release)]
        profile: Profile,
    },
    /// Run every test with both loaders, then the audit, and each bench for a moment. Installs missing Debian packages.
    Test {
        /// Only tests with this in their names, without audit and benches.
        filter: Option<String>,
        /// Install nothing; leave out what needs a missing package, and say so.
        #[arg(long)]
        no_install: bool,
    },
    /// Show a libc-free program calling the system's zlib. Installs missing Debian packages.
    Demo {
        /// The file to compress [default: a file of every Debian system].
        file: Option<PathBuf>,
        /// Install nothing; leave out what needs a missing package, and say so.
        #[arg(long)]
        no_install: bool,
    },
    /// Check the built loaders: ELF properties, exports, early code, and counters of starts.
    Audit,
    /// Measure the costs of the loader beside its peers. Installs missing Debian packages.
    Bench {
        /// The benches to run [default: all].
        #[arg(value_enum)]
        names: Vec<bench::Name>,
        /// Run each program a few times: tests the benches, and the figures mean nothing.
        #[arg(long)]
        quick: bool,
        /// Put the tables into docs/performance.md.
        #[arg(long, conflicts_with = "quick")]
        update_docs: bool,
        /// Install nothing; leave out what needs a missing package, and say so.
        #[arg(long)]
        no_install: bool,
    },
    /// Fuzz the library, by coverage if there is a nightly toolchain. A finding is an error.
    Fuzz {
        /// Seconds, in all.
        #[arg(default_value_t = 60)]
        seconds: u64,
        /// Instead, run 2000 broken libraries and 2000 broken executables under the loaders, and count the results.
        #[arg(long)]
        mutants: bool,
    },
    /// Become a traced process and execute a program (the audit runs itself with this).
    #[command(hide = true)]
    TraceMe {
        /// The program.
        program: PathBuf,
        /// Its argument.
        argument: Option<String>,
    },
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::TraceMe { program, argument } => count::trace::trace_me(&program, argument.as_deref()),
        Command::Stage { destdir, profile } => {
            let repo = Repo::find(&NATIVE)?;
            let destdir = destdir.unwrap_or_else(|| stage::default_dir(&repo, profile));
            stage::stage(&repo, profile, &destdir).map(drop)
        }
        Command::Test { filter, no_install } => test::test(&Repo::find(&NATIVE)?, filter.as_deref(), no_install),
        Command::Demo { file, no_install } => demo::demo(&Repo::find(&NATIVE)?, file.as_deref(), no_install),
        Command::Fuzz { mutants: true, .. } => fuzz::run_mutants(&Repo::find(&NATIVE)?),
        Command::Fuzz { seconds, mutants: false } => fuzz::fuzz(&Repo::find(&NATIVE)?, seconds),
        Command::Bench { names, quick, update_docs, no_install } => {
            bench::bench(&Repo::find(&NATIVE)?, &names, bench::Options { quick, update_docs, no_install })
        }
        Command::Audit => audit::audit(&Repo::find(&NATIVE)?),
    }
}
