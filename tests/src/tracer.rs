//! A process that stops at its first instruction, and at each of its system calls.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::launch::{Ending, Outcome, User};
use crate::stage::LOADER;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::start::{FAILED, NOBODY, Start};

/// How long a traced process may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A system call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// Its first four arguments.
    pub arguments: [u64; 4],
    /// Where it is made.
    pub place: u64,
}

/// How a start under the tracer went.
pub enum Begun {
    /// At its first instruction, which is the loader's.
    Stopped(Tracee),
    /// The kernel would not execute it, or killed it while it tried.
    Never,
}

/// A traced process, stopped.
pub struct Tracee {
    child: Child,
    pid: Pid,
    user: User,
    hung: Watchdog,
    /// A signal to be delivered when it goes on.
    signal: Option<Signal>,
    /// What was mapped where it got its last signal.
    place: String,
    ended: Option<Ending>,
}

/// Kills a process that takes too long.
struct Watchdog {
    /// Dropped when the process has ended.
    alive: Option<Sender<()>>,
    fired: Arc<Mutex<bool>>,
}

impl Watchdog {
    fn new(pid: Pid) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let fired = Arc::new(Mutex::new(false));
        let flag = Arc::clone(&fired);
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                if let Ok(mut fired) = flag.lock() {
                    *fired = true;
                }
                // It may have ended this very moment.
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Self { alive: Some(alive), fired }
    }

    fn has_fired(&self) -> bool {
        self.fired.lock().is_ok_and(|fired| *fired)
    }
}

impl Tracee {
    /// Starts a program; the error is that of a launcher which failed.
    pub fn start(start: &Start) -> Result<Self> {
        match Self::try_start(start)? {
            Begun::Stopped(tracee) => Ok(tracee),
            Begun::Never => bail!("the kernel did not execute it: {start:?}"),
        }
    }

    /// Starts a program that the kernel may be unable to execute.
    pub fn try_start(start: &Start) -> Result<Begun> {
        let mut child = start.command(true)?.spawn().context("the launcher")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Exited(_, FAILED) => {
                let text = text_of(child.stderr.take());
                ensure!(text.contains("execute "), "{start:?}: {text}");
                return Ok(Begun::Never);
            }
            // Killed after the point of no return of execve.
            WaitStatus::Signaled(..) => return Ok(Begun::Never),
            // Dying so: it goes on.
            WaitStatus::Stopped(_, signal) => {
                ptrace::cont(pid, signal)?;
                let ended = waitpid(pid, None)?;
                ensure!(matches!(ended, WaitStatus::Signaled(..)), "{start:?}: {signal}, {ended:?}");
                return Ok(Begun::Never);
            }
            other => bail!("{start:?}: {other:?}"),
        }
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD)?;
        Ok(Begun::Stopped(Self {
            child,
            pid,
            user: start.user(),
            hung: Watchdog::new(pid),
            signal: None,
            place: String::new(),
            ended: None,
        }))
    }

    /// Where the loader is mapped: start and end.
    pub fn loader(&self) -> Result<(u64, u64)> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let own = maps.lines().filter(|line| line.ends_with(LOADER));
        let ranges = own.filter_map(|line| {
            let (start, rest) = line.split_once('-')?;
            let (end, _) = rest.split_once(' ')?;
            Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
        });
        ranges.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))).context("no loader is mapped")
    }

    /// What is mapped at an address.
    fn mapping_of(&self, address: u64) -> Result<String> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
        let here = maps.lines().find(|line| {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            range.is_some_and(|(start, end)| (number(start)..number(end)).contains(&address))
        });
        Ok(here.and_then(|line| line.split_whitespace().nth(5)).unwrap_or("nothing").to_owned())
    }

    /// Size of its address space in bytes.
    pub fn size(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid))?;
        let pages: u64 = statm.split_whitespace().next().context("statm")?.parse()?;
        Ok(pages * 4096)
    }

    /// Sets a limit of the process, by the name that prlimit(1) has for it.
    pub fn limit(&self, name: &str, value: u64) -> Result<()> {
        let mut prlimit = Command::new("prlimit");
        if self.user == User::Nobody {
            // Not every superuser may change the limits of others.
            prlimit.uid(NOBODY).gid(NOBODY);
        }
        prlimit.arg(format!("--pid={}", self.pid)).arg(format!("--{name}={value}:{value}"));
        let status = prlimit.status().context("prlimit")?;
        ensure!(status.success(), "prlimit of {name} to {value}: {status}");
        Ok(())
    }

    /// Its stack pointer.
    pub fn stack_pointer(&self) -> Result<u64> {
        Ok(ptrace::getregs(self.pid)?.rsp)
    }

    /// A word of its memory.
    pub fn word(&self, address: u64) -> Result<u64> {
        let place = usize::try_from(address)? as ptrace::AddressType;
        Ok(ptrace::read(self.pid, place)?.cast_unsigned())
    }

    /// Writes a word of its memory.
    pub fn set_word(&self, address: u64, value: u64) -> Result<()> {
        let place = usize::try_from(address)? as ptrace::AddressType;
        Ok(ptrace::write(self.pid, place, value.cast_signed())?)
    }

    /// A string in its memory.
    pub fn string(&self, address: u64) -> Result<String> {
        let mut bytes = Vec::new();
        for at in (address..).step_by(8) {
            // Paths of the loader are on its stack or in its data: the word after the string is mapped as well.
            let word = self.word(at)?.to_le_bytes();
            let end = word.iter().position(|&byte| byte == 0);
            bytes.extend(word.iter().take(end.unwrap_or(8)));
            if end.is_some() {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Goes on to the next system call; `None` if it ended before.
    pub fn next_call(&mut self) -> Result<Option<Call>> {
        if !self.go_on()? {
            return Ok(None);
        }
        let registers = ptrace::getregs(self.pid)?;
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        Ok(Some(Call { number: registers.orig_rax, arguments, place: registers.rip }))
    }

    /// Lets the system call be made that it is stopped at, and stops after it; answers what it returned, or `None` if
    /// it never did.
    pub fn finish_call(&mut self) -> Result<Option<u64>> {
        if !self.go_on()? {
            return Ok(None);
        }
        Ok(Some(ptrace::getregs(self.pid)?.rax))
    }

    /// Has the system call that it is stopped at not made, but return `result`.
    pub fn replace_call(&mut self, result: u64) -> Result<()> {
        let mut registers = ptrace::getregs(self.pid)?;
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, registers)?;
        ensure!(self.finish_call()?.is_some(), "it ended in a system call that was not made");
        let mut registers = ptrace::getregs(self.pid)?;
        registers.rax = result;
        Ok(ptrace::setregs(self.pid, registers)?)
    }

    /// To the next stop at a system call; `false` if it ended before.
    fn go_on(&mut self) -> Result<bool> {
        while self.ended.is_none() {
            ptrace::syscall(self.pid, self.signal.take())?;
            match waitpid(self.pid, None)? {
                WaitStatus::PtraceSyscall(_) => return Ok(true),
                status => self.take_in(status)?,
            }
        }
        Ok(false)
    }

    fn take_in(&mut self, status: WaitStatus) -> Result<()> {
        match status {
            WaitStatus::Stopped(_, signal) => {
                self.place = self.mapping_of(ptrace::getregs(self.pid)?.rip)?;
                self.signal = Some(signal);
            }
            WaitStatus::Exited(_, status) => self.ended = Some(Ending::Exit(status)),
            WaitStatus::Signaled(_, signal, _) => self.ended = Some(Ending::Signal(signal as i32)),
            other => bail!("unexpected: {other:?}"),
        }
        Ok(())
    }

    /// Lets it run to its end.
    pub fn finish(self) -> Result<Outcome> {
        Ok(self.finish_where()?.0)
    }

    /// Lets it run to its end; answers what was mapped where it got its last signal as well.
    pub fn finish_where(mut self) -> Result<(Outcome, String)> {
        while self.ended.is_none() {
            ptrace::cont(self.pid, self.signal.take())?;
            let status = waitpid(self.pid, None)?;
            self.take_in(status)?;
        }
        drop(self.hung.alive.take());
        let ending = if self.hung.has_fired() { Some(Ending::Hang) } else { self.ended };
        let outcome = Outcome {
            ending: ending.context("no ending")?,
            stdout: text_of(self.child.stdout.take()),
            stderr: text_of(self.child.stderr.take()),
        };
        Ok((outcome, std::mem::take(&mut self.place)))
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if self.ended.is_none() && kill(self.pid, Signal::SIGKILL).is_ok() {
            // Whatever comes of it, it is gone.
            let _ = waitpid(self.pid, None);
        }
    }
}

/// What the ended process wrote: no more than fits a pipe.
fn text_of(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What could be read before an error is worth more than the error.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
