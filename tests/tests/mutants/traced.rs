//! Runs a program under ptrace(2), which gives the address of a crash.

use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};
use tests::launch::User;

use crate::objects::code_of;

/// Status of a child that could not execute the program.
const NOT_EXECUTED: i32 = 126;

/// The user and group `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// The loader whose crashes are distinguished from others.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    /// Its path in /proc/<pid>/maps.
    pub(crate) path: PathBuf,
    /// Addresses of its code, without load bias.
    code: Vec<Range<u64>>,
}

impl Loader {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| path.display().to_string())?;
        let code = code_of(&fs::read(&path)?)?;
        ensure!(!code.is_empty(), "{} has no code", path.display());
        Ok(Self { path, code })
    }
}

/// The place of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the loader.
    Loader,
    /// At an address without code, which the loader had called.
    Called,
    /// In another file that is mapped for execution, or the vDSO.
    Code,
    /// At an address without code.
    Nowhere,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The kernel did not execute it.
    NotExecuted,
    Exit(i32),
    /// A signal that no process sent: its name, the place, and the address.
    Crash(String, Place, u64),
    /// It did not end in time: the place, and the address.
    Hang(Place, u64),
}

/// How a program ended, and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) ending: Ending,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The traced process: executes the program.
pub(crate) fn child(user: &str, program: &str, arguments: &[&str]) -> ! {
    match become_program(user, program, arguments) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(NOT_EXECUTED)
        }
    }
}

fn become_program(user: &str, program: &str, arguments: &[&str]) -> Result<Infallible> {
    const ETXTBSY: i32 = 26;
    if user == User::Nobody.name() {
        setgroups(&[]).context("setgroups")?;
        setgid(Gid::from_raw(NOBODY)).context("setgid")?;
        setuid(Uid::from_raw(NOBODY)).context("setuid")?;
    }
    ptrace::traceme().context("PTRACE_TRACEME")?;
    loop {
        let error = Command::new(program).args(arguments).exec();
        // A child that another thread has forked may still have the file open for writing, until its own execve.
        if error.raw_os_error() != Some(ETXTBSY) {
            return Err(error.into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a program as a user, for no longer than `limit`. Crashes of `loader` are distinguished from others.
pub(crate) fn run(user: User, words: &[&str], loader: &Loader, limit: Duration) -> Result<Run> {
    let itself = std::env::current_exe().context("this program's own path")?;
    let mut command = Command::new(itself);
    command.arg("child:traced").arg(user.name()).args(words).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start the traced process")?;
    let ending = follow(&mut child, loader, limit);
    // Not `Child::wait`: waitpid(2) has already reaped the process.
    let mut run = Run { ending: ending?, stdout: String::new(), stderr: String::new() };
    for (pipe, text) in [
        (child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>), &mut run.stdout),
        (child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>), &mut run.stderr),
    ] {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
    Ok(run)
}

fn follow(child: &mut Child, loader: &Loader, limit: Duration) -> Result<Ending> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let start = Instant::now();
    let mut executed = false;
    let mut stopped_by_us = false;
    loop {
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG))?;
        match status {
            WaitStatus::StillAlive if start.elapsed() > limit && !stopped_by_us => {
                kill(pid, Signal::SIGSTOP)?;
                stopped_by_us = true;
            }
            WaitStatus::StillAlive => thread::sleep(Duration::from_micros(50)),
            WaitStatus::Exited(_, NOT_EXECUTED) if !executed => return Ok(Ending::NotExecuted),
            WaitStatus::Exited(_, status) => return Ok(Ending::Exit(status)),
            // execve failed after the old program was gone: the kernel killed the process.
            WaitStatus::Signaled(..) if !executed => return Ok(Ending::NotExecuted),
            WaitStatus::Signaled(_, signal, _) => {
                return Ok(Ending::Crash(signal.to_string(), Place::Nowhere, 0));
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) if !executed => {
                executed = true;
                ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL)?;
                ptrace::cont(pid, None)?;
            }
            WaitStatus::Stopped(_, signal) => {
                let rip = ptrace::getregs(pid)?.rip;
                let place = place(pid, rip, loader)?;
                let ending = match signal {
                    Signal::SIGSTOP if stopped_by_us => Ending::Hang(place, rip),
                    _ if is_fatal(signal) => Ending::Crash(signal.to_string(), place, rip),
                    _ => {
                        ptrace::cont(pid, signal)?;
                        continue;
                    }
                };
                kill(pid, Signal::SIGKILL)?;
                waitpid(pid, None)?;
                return Ok(ending);
            }
            _ => {}
        }
    }
}

/// Whether a signal is one of a fault of the process itself.
fn is_fatal(signal: Signal) -> bool {
    use Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    matches!(signal, SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV | SIGSYS | SIGTRAP)
}

/// The place of a stopped process.
fn place(pid: Pid, rip: u64, loader: &Loader) -> Result<Place> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = |address: u64| maps.lines().find(|line| range(line).is_some_and(|range| range.contains(&address)));
    let of_loader = |line: &&str| line.ends_with(&*loader.path.to_string_lossy());
    // The address of the first segment is the load bias.
    let bias = maps.lines().find(of_loader).and_then(range).map_or(0, |range| range.start);
    let in_loader = |address: u64| {
        line(address).as_ref().is_some_and(of_loader)
            && loader.code.iter().any(|code| code.contains(&address.wrapping_sub(bias)))
    };
    let word = |address: u64| -> Option<u64> {
        let pointer = usize::try_from(address).ok()? as ptrace::AddressType;
        ptrace::read(pid, pointer).ok().map(i64::cast_unsigned)
    };
    let executable = |line: &str| line.split(' ').nth(1).is_some_and(|flags| flags.contains('x'));
    if in_loader(rip) {
        // The target of a call: a broken address of a function may lie in the loader by accident. The loader's own
        // functions do not begin with an instruction that can fault.
        let why = ptrace::getsiginfo(pid).map_or(SI_USER, |info| info.si_code);
        let came_from = word(ptrace::getregs(pid)?.rsp).unwrap_or(0);
        let before = word(came_from.wrapping_sub(8)).unwrap_or(0).to_le_bytes();
        let indirect = (2..=5).any(|size| is_indirect_call(&before[8 - size..]));
        match why != SI_USER && line(came_from).is_some_and(executable) {
            true if in_loader(came_from) && indirect => return Ok(Place::Called),
            true if !in_loader(came_from) && (indirect || before[3] == CALL) => return Ok(Place::Nowhere),
            _ => {}
        }
        // A call of an address that is not canonical (sign-extended from bit 47) faults at the call.
        let calls = word(rip).is_some_and(|code| is_indirect_call(&code.to_le_bytes()));
        return Ok(if why == SI_KERNEL && calls { Place::Called } else { Place::Loader });
    }
    // Executable bytes of the loader's file that are not its code do not count as code.
    if line(rip).is_some_and(|line| executable(line) && !of_loader(&line)) {
        return Ok(Place::Code);
    }
    let return_address = word(ptrace::getregs(pid)?.rsp);
    Ok(if return_address.is_some_and(in_loader) { Place::Called } else { Place::Nowhere })
}

/// `call` of an address that is in the instruction, five bytes long.
const CALL: u8 = 0xe8;

/// `si_code` of a signal that a process has sent: no fault.
const SI_USER: i32 = 0;

/// `si_code` of a signal from the kernel without an address.
const SI_KERNEL: i32 = 128;

/// `call` or `jmp` through a register, or through memory that a register leads to.
fn is_indirect_call(code: &[u8]) -> bool {
    match code {
        [0x41, 0xff, modrm, ..] | [0xff, modrm, ..] => matches!(modrm & 0o070, 0o020 | 0o040),
        _ => false,
    }
}

/// The addresses in a line of `/proc/<pid>/maps`.
fn range(line: &str) -> Option<Range<u64>> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some(number(start)?..number(end)?)
}

/// The test that the places are distinguished, with the C library in the part of the loader.
pub(crate) fn trial() -> Trial {
    Trial::test("traced/places", || {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let path = |name: &str| {
            maps.lines().filter_map(|line| line.split(' ').next_back()).find(|path| path.ends_with(name))
        };
        let libc = Loader::new(Path::new(path("/libc.so.6").ok_or("no libc")?))?;
        let shell = Loader::new(Path::new("/bin/sh"))?;
        let ending = |words: &[&str], loader: &Loader| -> Result<Ending> {
            Ok(run(User::Oneself, words, loader, Duration::from_millis(300))?.ending)
        };
        let crash = ["/bin/sh", "-c", "kill -SEGV $$"];
        let busy = ["/bin/sh", "-c", "while :; do :; done"];
        let place = |ending: Ending| match ending {
            Ending::Crash(_, place, _) | Ending::Hang(place, _) => Some(place),
            _ => None,
        };
        ensure_that(place(ending(&crash, &libc)?) == Some(Place::Loader), "a crash in the loader")?;
        ensure_that(place(ending(&crash, &shell)?) == Some(Place::Code), "a crash elsewhere")?;
        ensure_that(matches!(ending(&busy, &shell)?, Ending::Hang(..)), "a hang")?;
        ensure_that(ending(&["/bin/sh", "-c", "exit 3"], &shell)? == Ending::Exit(3), "an exit")?;
        ensure_that(ending(&["/nonexistent"], &shell)? == Ending::NotExecuted, "no execution")
    })
}

fn ensure_that(is_so: bool, what: &str) -> Result<(), Failed> {
    is_so.then_some(()).ok_or_else(|| format!("{what} is not seen").into())
}
