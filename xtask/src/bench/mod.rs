//! Costs of the loader, measured beside its peers.
//!
//! | file | contents |
//! |---|---|
//! | `start`, `rt0`, `libc`, `mem`, `scale`, `size` | a bench each |
//! | `workshop` | where the programs are made; their sources are in `bench/` |
//! | `driver`, `processes` | whole processes, started by turns and counted |
//! | `spread`, `report`, `machine` | medians; tables, JSON and documentation; the machine of the measurements |

mod driver;
pub(crate) mod libc;
mod machine;
mod mem;
mod processes;
mod report;
mod rt0;
pub(crate) mod scale;
mod size;
mod spread;
pub(crate) mod start;
pub(crate) mod workshop;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::Value;

use self::driver::Effort;
use self::machine::Machine;
use self::report::Report;
use self::scale::Step;
use self::workshop::Workshop;
use crate::loader::Profile;
use crate::packages;
use crate::repo::Repo;
use crate::run::step;
use crate::stage::{Stage, stage_default};

/// A bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Costs of a start.
    Start,
    /// Costs of a start without PT_INTERP.
    Rt0,
    /// Costs of bringing libc in, and of native calls after that.
    Libc,
    /// The memory functions.
    Mem,
    /// Costs of many libraries.
    Scale,
    /// Size of the loader, in the file system and in memory.
    Size,
}

/// The options of the command besides names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Few runs: the figures mean nothing.
    pub(crate) quick: bool,
    /// Put the tables into the documentation.
    pub(crate) update_docs: bool,
    /// Install nothing.
    pub(crate) no_install: bool,
}

/// Runs the named benches, or all.
pub(crate) fn bench(repo: &Repo, names: &[Name], options: Options) -> Result<()> {
    let wanted = [&packages::GCC, &packages::BINUTILS, &packages::MUSL, &packages::VALGRIND];
    let left_out = packages::ensure(&wanted, options.no_install)?;
    ensure!(packages::MUSL.present(), "musl is what half of the figures are compared with");
    left_out.print();
    let stage = stage_default(repo, Profile::Release)?;
    let machine = Machine::ask()?;
    let names = if names.is_empty() { Name::value_variants() } else { names };
    for &name in names {
        let report = run(repo, &stage, name, options.quick)?;
        let markdown = report.markdown(&machine);
        println!("\n{markdown}");
        let json = report.write_json(&json_directory(repo, options.quick), &machine)?;
        step(format!("written: {}", json.display()));
        if options.update_docs {
            report::update(&repo.root().join("docs/performance.md"), report.name, &markdown)?;
        }
    }
    Ok(())
}

/// Directory of the JSON files. Those of a quick run, whose figures mean nothing, have their own.
fn json_directory(repo: &Repo, quick: bool) -> PathBuf {
    repo.target().join(if quick { "bench/quick" } else { "bench" })
}

/// Runs all benches with as few runs as possible, and checks the JSON files that they write.
pub(crate) fn try_all(repo: &Repo) -> Result<()> {
    bench(repo, &[], Options { quick: true, update_docs: false, no_install: true })?;
    for name in Name::value_variants() {
        let path = json_directory(repo, true).join(format!("{}.json", name.label()));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let value: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let list =
            |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let tables = list(&value, "tables");
        ensure!(!tables.is_empty(), "{}: no table", path.display());
        let full = tables.iter().all(|table| !list(table, "rows").is_empty());
        ensure!(full, "{}: a table without rows", path.display());
    }
    Ok(())
}

impl Name {
    /// The bench's name on the command line.
    fn label(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn run(repo: &Repo, stage: &Stage, name: Name, quick: bool) -> Result<Report> {
    let label = name.label();
    step(format!("bench {label}"));
    let workshop = Workshop::new(repo, stage, &label)?;
    let effort = |rounds, each| match quick {
        true => Effort { rounds: 3, each: 3 },
        false => Effort { rounds, each },
    };
    match name {
        Name::Start => start::bench(&workshop, effort(100, 21), !quick),
        Name::Rt0 => rt0::bench(&workshop, effort(100, 21)),
        Name::Libc => libc::bench(&workshop, effort(100, 11), if quick { 3 } else { 31 }),
        Name::Mem => mem::bench(&workshop, if quick { 1 } else { 101 }, !quick),
        Name::Scale => scale::bench(&workshop, &steps(quick), !quick),
        Name::Size => size::bench(&workshop),
    }
}

/// Numbers of libraries, with fewer runs where each takes longer.
fn steps(quick: bool) -> Vec<Step> {
    let step = |libraries, rounds, each| Step { libraries, effort: Effort { rounds, each } };
    match quick {
        true => vec![step(5, 2, 1), step(10, 2, 1)],
        false => vec![step(10, 60, 5), step(50, 40, 3), step(200, 20, 1), step(800, 10, 1)],
    }
}
