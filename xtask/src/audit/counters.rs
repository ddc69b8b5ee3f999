//! What the plain start costs, in counters that repeat exactly, against an interpreter that only jumps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

use super::table::Row;
use super::trace::{self, Trace};
use crate::repo::Repo;
use crate::run::{run, step};

/// Instructions the plain start may take beyond the trivial interpreter's. Both walk the block to AT_ENTRY; the
/// loader compares the start of each variable's name, finds AT_SECURE and reads the program's program headers and
/// dynamic section, and checks that these are mapped, that the entry is code, and that no segment is far from the
/// others in the file: some ten instructions for each of the variables, entries and headers here. Measured: 921.
const INSTRUCTION_BUDGET: u64 = 950;

/// Page faults the plain start may take beyond the trivial interpreter's: the program's own first page, with the
/// program headers, and the page of its dynamic section, which the program itself would not have read. (A program
/// whose headers share a segment with its text has the first of them anyway.)
const FAULT_BUDGET: i64 = 2;

/// What the program under test exits with.
const STATUS: i32 = 17;

/// Page faults vary with what else the machine does, upwards; the least of this many runs is the figure.
const RUNS: usize = 20;

/// What a small environment looks like.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("HOME", "/home/user"),
    ("LANG", "en_US.UTF-8"),
    ("LD_LIBRARY_PATH", "/opt/lib"),
    ("LOGNAME", "user"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("PWD", "/home/user"),
    ("SHELL", "/bin/sh"),
    ("TERM", "xterm-256color"),
];

/// What one start cost.
#[derive(Clone, Debug)]
struct Cost {
    trace: Trace,
    faults: i64,
}

/// Measures the trivial program under the trivial interpreter and under the loader, and compares.
pub(crate) fn check(repo: &Repo, loader: &Path) -> Result<Vec<Row>> {
    step("count what the plain start does");
    let sources = repo.root().join("xtask/audit");
    let directory = repo.fresh_dir("audit")?;
    let interpreter = trivial_interpreter(&sources, &directory)?;
    let under_trivial = program(&sources, &directory.join("under-trivial"), &interpreter)?;
    let under_loader = program(&sources, &directory.join("under-loader"), loader)?;
    let measured = trace::without_randomisation(|| {
        // What the loader does wrong is a figure of the table; what goes wrong without it is not.
        Ok((cost(&under_trivial)?, cost(&under_loader)))
    });
    let ((trivial, ours), fixed_addresses) = measured?;
    if !fixed_addresses {
        println!("    addresses stay randomised: this machine does not let that be turned off");
    }
    Ok(ours.map_or_else(|error| vec![broken(&error)], |ours| gate(&trivial, &ours)))
}

fn broken(error: &anyhow::Error) -> Row {
    Row::new("plain start", "-").require(false, || format!("{error:#}"))
}

/// One executable segment and nothing to write, as no linker makes it unasked.
fn trivial_interpreter(sources: &Path, directory: &Path) -> Result<PathBuf> {
    let made = directory.join("trivial-interpreter.so");
    let mut script = std::ffi::OsString::from("-Wl,-T,");
    script.push(sources.join("one-segment.ld"));
    run(Command::new("gcc")
        .args(["-nostdlib", "-nostartfiles", "-static-pie"])
        .args(["-Wl,--no-dynamic-linker", "-Wl,--build-id=none"])
        .arg(script)
        .arg("-o")
        .args([made.clone(), sources.join("trivial-interpreter.S")]))?;
    Ok(made)
}

fn program(sources: &Path, made: &Path, interpreter: &Path) -> Result<PathBuf> {
    let interpreter = fs::canonicalize(interpreter).context("the interpreter's path")?;
    let mut option = std::ffi::OsString::from("-Wl,--dynamic-linker=");
    option.push(interpreter);
    run(Command::new("gcc")
        .args(["-nostdlib", "-nostartfiles", "-fPIE", "-pie"])
        .arg(option)
        .arg("-o")
        .args([made, &sources.join("exit17.S")]))?;
    Ok(made.to_owned())
}

fn cost(program: &Path) -> Result<Cost> {
    let trace = trace::trace(program, &ENVIRONMENT)?;
    let mut faults = i64::MAX;
    for _ in 0..RUNS {
        faults = faults.min(faults_of_a_run(program)?);
    }
    Ok(Cost { trace, faults })
}

/// Minor page faults from the new process's first moment to its end.
fn faults_of_a_run(program: &Path) -> Result<i64> {
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    let status = Command::new(program)
        .env_clear()
        .envs(ENVIRONMENT)
        .status()
        .with_context(|| program.display().to_string())?;
    if status.code() != Some(STATUS) {
        bail!("{}: {status}, not {STATUS}", program.display());
    }
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    Ok(after - before)
}

fn gate(trivial: &Cost, ours: &Cost) -> Vec<Row> {
    let calls = &ours.trace.system_calls;
    let instructions = ours.trace.instructions;
    let instructions_limit = trivial.trace.instructions + INSTRUCTION_BUDGET;
    let faults_limit = trivial.faults + FAULT_BUDGET;
    vec![
        Row::new("plain start: exit status", ours.trace.status)
            .require(ours.trace.status == STATUS && trivial.trace.status == STATUS, || {
                format!("should be {STATUS}, and is {} under the trivial interpreter", trivial.trace.status)
            }),
        Row::new("plain start: system calls", format!("{calls:?}"))
            .require(*calls == trivial.trace.system_calls, || {
                format!("the program's own are {:?}", trivial.trace.system_calls)
            }),
        Row::new("plain start: page faults", format!("{} (trivial {})", ours.faults, trivial.faults))
            .require(ours.faults <= faults_limit, || format!("may be {faults_limit}")),
        Row::new("plain start: instructions", format!("{instructions} (trivial {})", trivial.trace.instructions))
            .require(instructions <= instructions_limit, || format!("may be {instructions_limit}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: u64, system_calls: &[u64], status: i32, faults: i64) -> Cost {
        let system_calls = system_calls.to_vec();
        Cost { trace: Trace { instructions, system_calls, status }, faults }
    }

    const TRIVIAL: (u64, i64) = (100, 40);
    /// The most that passes.
    const MOST: (u64, i64) = (TRIVIAL.0 + INSTRUCTION_BUDGET, TRIVIAL.1 + FAULT_BUDGET);

    fn failing(ours: &Cost) -> Vec<&'static str> {
        let trivial = cost(TRIVIAL.0, &[231], STATUS, TRIVIAL.1);
        let rows = gate(&trivial, ours);
        let failing = rows.iter().filter(|row| row.failure.is_some());
        failing.map(|row| row.name).collect()
    }

    #[test]
    fn what_stays_within_the_budgets_passes() {
        assert!(failing(&cost(MOST.0, &[231], STATUS, MOST.1)).is_empty());
    }

    #[test]
    fn each_excess_fails() {
        let too_many = failing(&cost(MOST.0 + 1, &[231], STATUS, MOST.1));
        assert_eq!(too_many, ["plain start: instructions"]);
        let faulting = failing(&cost(MOST.0, &[231], STATUS, MOST.1 + 1));
        assert_eq!(faulting, ["plain start: page faults"]);
        let calling = failing(&cost(MOST.0, &[9, 231], STATUS, MOST.1));
        assert_eq!(calling, ["plain start: system calls"]);
        let dead = failing(&cost(MOST.0, &[231], 127, MOST.1));
        assert_eq!(dead, ["plain start: exit status"]);
    }
}
