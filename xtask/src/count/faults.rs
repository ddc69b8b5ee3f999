//! Page faults of whole runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

use super::ENVIRONMENT;

/// Runs, of which the smallest number of page faults counts: other load on the machine only adds to it.
const RUNS: usize = 20;

/// Minor page faults from a new process's first moment to its end.
pub(crate) fn faults(program: &Path, status: i32) -> Result<i64> {
    let mut least = i64::MAX;
    for _ in 0..RUNS {
        least = least.min(of_a_run(program, status)?);
    }
    Ok(least)
}

fn of_a_run(program: &Path, status: i32) -> Result<i64> {
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    let ended = Command::new(program)
        .env_clear()
        .envs(ENVIRONMENT)
        .status()
        .with_context(|| program.display().to_string())?;
    if ended.code() != Some(status) {
        bail!("{}: {ended}, not {status}", program.display());
    }
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    Ok(after - before)
}
