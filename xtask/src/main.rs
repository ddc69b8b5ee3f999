//! The commands of the repository, `cargo xtask <command>`.
//!
//! | file | what |
//! |---|---|
//! | `repo` | where things are, and what cargo says about them |
//! | `run` | running other programs, and saying so |
//! | `pin` | keeping to one CPU |
//! | `packages` | Debian packages that are needed, and what is left out without them |
//! | `loader` | builds the loader |
//! | `template` | builds the file that marks processes with a libc |
//! | `rt0` | assembles the stubs for programs without PT_INTERP |
//! | `stage` | lays out the installed files |
//! | `musl` | a zlib for musl, since no system ships one |
//! | `test` | everything that can fail |
//! | `demo` | the main job, shown |
//! | `bench` | what the loader costs, beside its peers |
//! | `count` | figures that repeat exactly |
//! | `least` | the least programs and the least interpreter |
//! | `fuzz` | the library, fuzzed, and broken files run for real |
//! | `audit` | what must hold of the built loader |
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
        /// Where to [default: target/stage, or target/stage-debug for the debug profile].
        #[arg(long)]
        destdir: Option<PathBuf>,
        /// Which build of the loader.
        #[arg(long, value_enum, default_value_t = Profile::Release)]
        profile: Profile,
    },
    /// Run every test with both loaders, then the audit, and each bench for a moment. Installs missing Debian packages.
    Test {
        /// Only tests whose name contains this; audit and benches are left to a full run.
        filter: Option<String>,
        /// Install nothing; leave out what needs a missing package, and say so.
        #[arg(long)]
        no_install: bool,
    },
    /// Show a libc-free program calling the system's zlib. Installs missing Debian packages.
    Demo {
        /// The file to compress [default: one that every Debian has].
        file: Option<PathBuf>,
        /// Install nothing; leave out what needs a missing package, and say so.
        #[arg(long)]
        no_install: bool,
    },
    /// Check the built loaders: their ELF properties, exports and early code, and the plain start's counters.
    Audit,
    /// Measure, beside its peers, what the loader costs. Installs missing Debian packages.
    Bench {
        /// Only these [default: all].
        #[arg(value_enum)]
        names: Vec<bench::Name>,
        /// So few runs that the figures mean nothing; for tests of the benches themselves.
        #[arg(long)]
        quick: bool,
        /// Put the tables into docs/performance.md.
        #[arg(long)]
        update_docs: bool,
        /// Install nothing.
        #[arg(long)]
        no_install: bool,
    },
    /// Fuzz the library, by coverage where there is a nightly toolchain. A finding is an error.
    Fuzz {
        /// For how long, in all.
        #[arg(default_value_t = 60)]
        seconds: u64,
        /// Instead, run 2000 broken libraries and 2000 broken executables under the loaders, and print what came of them.
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
