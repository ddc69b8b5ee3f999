//! Executes a program one instruction at a time, or from system call to system call.

use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::personality::{self, Persona};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::ENVIRONMENT;
use crate::pin::on_one_cpu;

/// Most instructions of a program; one that executes more was started by mistake.
const MOST_INSTRUCTIONS: u64 = 10_000_000;

/// Number of execve.
const EXECVE: u64 = 59;

/// Counts of a program between the kernel's execve and its exit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Instructions executed in user mode (each turn of a `rep` is one).
    pub(crate) instructions: u64,
    /// The numbers of its system calls, in order.
    pub(crate) system_calls: Vec<u64>,
    /// Its exit status.
    pub(crate) status: i32,
}

/// The traced process: calls PTRACE_TRACEME and executes the program, which stops at its first instruction.
pub(crate) fn trace_me(program: &Path, argument: Option<&str>) -> Result<()> {
    ptrace::traceme().context("PTRACE_TRACEME")?;
    let error = Command::new(program).args(argument).exec();
    Err(error).with_context(|| format!("execute {}", program.display()))
}

/// Counts a program with that environment from its first instruction to its exit; see [`trace_in`].
pub(crate) fn trace(program: &Path, environment: &[(&str, &str)]) -> Result<Trace> {
    trace_with(program, None, environment)
}

/// [`trace`] with an argument for the program.
pub(crate) fn trace_with(program: &Path, argument: Option<&str>, environment: &[(&str, &str)]) -> Result<Trace> {
    trace_in(None, program, argument, environment)
}

/// Counts a program's instructions and system calls. With `object`, which execve must have mapped, only those in its
/// mappings count. The program runs twice: once from system call to system call, once step by step.
pub(crate) fn trace_in(
    object: Option<&Path>,
    program: &Path,
    argument: Option<&str>,
    environment: &[(&str, &str)],
) -> Result<Trace> {
    // The two processes wait for each other at each instruction: on one CPU that is fastest.
    on_one_cpu(|| {
        let pid = stopped_at_exec(program, argument, environment)?;
        let within = mapping(pid, object)?;
        let (system_calls, status) =
            follow(pid, &within).with_context(|| format!("follow {}", program.display()))?;
        let pid = stopped_at_exec(program, argument, environment)?;
        let within = mapping(pid, object)?;
        let instructions =
            step_to_exit(pid, &within).with_context(|| format!("step through {}", program.display()))?;
        Ok(Trace { instructions, system_calls, status })
    })
}

/// Addresses of an object's mapping; without an object, all addresses.
fn mapping(pid: Pid, object: Option<&Path>) -> Result<Range<u64>> {
    let Some(object) = object else { return Ok(0..u64::MAX) };
    let object = object.canonicalize().with_context(|| object.display().to_string())?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).context("the list of mappings")?;
    let mut places = maps.lines().filter(|line| Path::new(line.split(' ').next_back().unwrap_or("")) == object);
    let place = |line: &str| -> Result<Range<u64>> {
        let (start, end) = line.split(' ').next().and_then(|place| place.split_once('-')).context("no place")?;
        Ok(u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?)
    };
    let first = place(places.next().with_context(|| format!("{} is not mapped", object.display()))?)?;
    let last = places.next_back().map(place).transpose()?.unwrap_or_else(|| first.clone());
    Ok(first.start..last.end)
}

/// Number of system calls of a program, with these variables and those of [`ENVIRONMENT`].
pub(crate) fn system_calls(program: &Path, variables: &[(&str, &str)]) -> Result<u64> {
    let environment = [ENVIRONMENT.as_slice(), variables].concat();
    on_one_cpu(|| {
        let pid = stopped_at_exec(program, None, &environment)?;
        let (system_calls, _) =
            follow(pid, &mapping(pid, None)?).with_context(|| format!("follow {}", program.display()))?;
        Ok(system_calls.len() as u64)
    })
}

fn stopped_at_exec(program: &Path, argument: Option<&str>, environment: &[(&str, &str)]) -> Result<Pid> {
    let itself = std::env::current_exe().context("this program's own path")?;
    // This tool itself calls PTRACE_TRACEME in the new process: no code runs between fork and exec.
    let child = Command::new(itself)
        .arg("trace-me")
        .arg(program)
        .args(argument)
        .stdout(Stdio::null())
        .env_clear()
        .envs(environment.iter().copied())
        .spawn()
        .context("start the traced process")?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    match waitpid(pid, None)? {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
        other => bail!("{}: not stopped at exec: {other:?}", program.display()),
    }
    ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD)?;
    Ok(pid)
}

/// The numbers of its system calls from within a range of addresses, and its exit status.
fn follow(pid: Pid, within: &Range<u64>) -> Result<(Vec<u64>, i32)> {
    let mut system_calls = Vec::new();
    let mut inside = false;
    let mut last = 0;
    loop {
        ptrace::syscall(pid, None)?;
        match waitpid(pid, None)? {
            // It stops at the entry of a call, and at its return.
            WaitStatus::PtraceSyscall(_) => {
                inside = !inside;
                if inside {
                    let registers = ptrace::getregs(pid)?;
                    last = registers.orig_rax;
                    system_calls.extend(within.contains(&registers.rip).then_some(last));
                }
            }
            // It has executed another program.
            WaitStatus::Stopped(_, Signal::SIGTRAP) if last == EXECVE => {}
            WaitStatus::Exited(_, status) => return Ok((system_calls, status)),
            other => bail!("after {} system calls: {other:?}", system_calls.len()),
        }
    }
}

/// The number of its instructions within a range of addresses.
fn step_to_exit(pid: Pid, within: &Range<u64>) -> Result<u64> {
    let everywhere = within.end == u64::MAX;
    let mut counted = 0;
    for instructions in 1..=MOST_INSTRUCTIONS {
        // Reading the registers takes as long as the step.
        counted += u64::from(everywhere || within.contains(&ptrace::getregs(pid)?.rip));
        ptrace::step(pid, None)?;
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Exited(..) => return Ok(counted),
            other => bail!("after {instructions} instructions: {other:?}"),
        }
    }
    bail!("no end after {MOST_INSTRUCTIONS} instructions");
}

/// Runs `action` without address space randomisation of new processes, if personality(2) permits that; returns whether
/// it does.
pub(crate) fn without_randomisation<T>(action: impl FnOnce() -> Result<T>) -> Result<(T, bool)> {
    let before = personality::get().context("personality")?;
    let fixed = personality::set(before | Persona::ADDR_NO_RANDOMIZE).is_ok();
    let result = action();
    if fixed {
        personality::set(before).context("restore the personality")?;
    }
    Ok((result?, fixed))
}
