//! Restricts processes to one CPU: there, processes that wait for each other wake up sooner, and caches stay warm.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The last CPU that this process may use: the first one gets most interrupts.
pub(crate) fn cpu() -> Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    let last = (0..CpuSet::count()).rev().find(|&cpu| allowed.is_set(cpu) == Ok(true));
    last.context("this process may use no CPU")
}

/// Runs `action`, and all processes that it starts, on that CPU.
pub(crate) fn on_one_cpu<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).context("sched_getaffinity")?;
    let mut one = CpuSet::new();
    one.set(cpu()?)?;
    sched_setaffinity(this, &one).context("sched_setaffinity")?;
    let result = action();
    sched_setaffinity(this, &before).context("sched_setaffinity")?;
    result
}
