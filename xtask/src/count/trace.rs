//! Executes a program one instruction at a time.

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

/// A program that goes on longer than this is not one we meant to count.
const MOST_INSTRUCTIONS: u64 = 10_000_000;

/// What a program did between the kernel's exec and its exit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Instructions executed in user mode (each turn of a `rep` is one).
    pub(crate) instructions: u64,
    /// The numbers of its system calls, in order.
    pub(crate) system_calls: Vec<u64>,
    /// Its exit status.
    pub(crate) status: i32,
}

/// The traced side: asks to be traced and becomes the program, which stops at its first instruction.
pub(crate) fn trace_me(program: &Path, argument: Option<&str>) -> Result<()> {
    ptrace::traceme().context("PTRACE_TRACEME")?;
    let error = Command::new(program).args(argument).exec();
    Err(error).with_context(|| format!("execute {}", program.display()))
}

/// Runs a program with that environment, step by step, from its first instruction to its exit.
pub(crate) fn trace(program: &Path, environment: &[(&str, &str)]) -> Result<Trace> {
    trace_with(program, None, environment)
}

/// The same, with an argument for the program.
pub(crate) fn trace_with(program: &Path, argument: Option<&str>, environment: &[(&str, &str)]) -> Result<Trace> {
    // Two processes that wait for each other at each instruction.
    on_one_cpu(|| trace_here(program, argument, environment))
}

/// How many system calls a program makes between the kernel's exec and its exit, with these variables and those of
/// [`ENVIRONMENT`].
pub(crate) fn system_calls(program: &Path, variables: &[(&str, &str)]) -> Result<u64> {
    let environment = [ENVIRONMENT.as_slice(), variables].concat();
    on_one_cpu(|| {
        let pid = stopped_at_exec(program, None, &environment)?;
        let mut stops = 0_u64;
        loop {
            ptrace::syscall(pid, None)?;
            match waitpid(pid, None)? {
                WaitStatus::PtraceSyscall(_) => stops += 1,
                // Each but the last stops at its end, too.
                WaitStatus::Exited(..) => return Ok(stops.div_ceil(2)),
                other => bail!("{}: after {stops} stops: {other:?}", program.display()),
            }
        }
    })
}

fn trace_here(program: &Path, argument: Option<&str>, environment: &[(&str, &str)]) -> Result<Trace> {
    let pid = stopped_at_exec(program, argument, environment)?;
    step_to_exit(pid).with_context(|| format!("step through {}", program.display()))
}

fn stopped_at_exec(program: &Path, argument: Option<&str>, environment: &[(&str, &str)]) -> Result<Pid> {
    let itself = std::env::current_exe().context("this program's own path")?;
    // A process that asks to be traced needs no code between fork and exec here.
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

fn step_to_exit(pid: Pid) -> Result<Trace> {
    let mut trace = Trace::default();
    while trace.instructions < MOST_INSTRUCTIONS {
        let registers = ptrace::getregs(pid)?;
        // Where nothing can be read, the step itself will say what is wrong.
        if code_at(pid, registers.rip).is_ok_and(is_system_call) {
            trace.system_calls.push(registers.rax);
        }
        trace.instructions += 1;
        ptrace::step(pid, None)?;
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Exited(_, status) => {
                trace.status = status;
                return Ok(trace);
            }
            other => bail!("after {} instructions: {other:?}", trace.instructions),
        }
    }
    bail!("no end after {MOST_INSTRUCTIONS} instructions");
}

/// The two bytes at an address, low byte first.
fn code_at(pid: Pid, address: u64) -> Result<u16> {
    // Aligned words, so that none reaches over the end of a mapping.
    let word = |at: u64| -> Result<u64> {
        let pointer = usize::try_from(at)? as ptrace::AddressType;
        Ok(ptrace::read(pid, pointer)?.cast_unsigned())
    };
    let aligned = address & !7;
    let shift = (address & 7) * 8;
    let mut bytes = word(aligned)? >> shift;
    if shift == 56 {
        // The second byte is in the next word; where there is none, no two-byte instruction is either.
        bytes |= word(aligned + 8).unwrap_or(0) << 8;
    }
    Ok(u16::try_from(bytes & 0xffff)?)
}

/// `syscall`, `sysenter` or `int 0x80`.
fn is_system_call(code: u16) -> bool {
    matches!(code.to_le_bytes(), [0x0f, 0x05 | 0x34] | [0xcd, 0x80])
}

/// Runs `action` with the address space of new processes not randomised, where that may be asked for;
/// says whether it was.
pub(crate) fn without_randomisation<T>(action: impl FnOnce() -> Result<T>) -> Result<(T, bool)> {
    let before = personality::get().context("personality")?;
    let fixed = personality::set(before | Persona::ADDR_NO_RANDOMIZE).is_ok();
    let result = action();
    if fixed {
        personality::set(before).context("restore the personality")?;
    }
    Ok((result?, fixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_into_the_kernel_is_recognised() {
        for code in [[0x0f, 0x05], [0x0f, 0x34], [0xcd, 0x80]] {
            assert!(is_system_call(u16::from_le_bytes(code)));
        }
        assert!(!is_system_call(u16::from_le_bytes([0x05, 0x0f])));
    }
}
