//! A process under ptrace(2), which stops at its first instruction and at each of its system calls.

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
    /// Address of the instruction after `syscall`.
    pub place: u64,
}

/// Result of a start under the tracer.
pub enum Begun {
    /// The process is stopped at its first instruction, which is the loader's.
    Stopped(Tracee),
    /// The kernel refused to execute the program, or killed the process in execve.
    Never,
}

/// A traced process, stopped.
pub struct Tracee {
    child: Child,
    pid: Pid,
    user: User,
    hung: Watchdog,
    /// A signal to be delivered when it continues.
    signal: Option<Signal>,
    /// Name of the mapping in which it got its last signal.
    place: String,
    ended: Option<Ending>,
}

/// Kills a process that runs for longer than [`PATIENCE`].
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
                // It may have ended since.
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
    /// Starts a program.
    ///
    /// # Errors
    /// The launcher failed in a step before execve, or the kernel did not execute the program.
    pub fn start(start: &Start) -> Result<Self> {
        match Self::try_start(start)? {
            Begun::Stopped(tracee) => Ok(tracee),
            Begun::Never => bail!("the kernel did not execute it: {start:?}"),
        }
    }

    /// Starts a program that the kernel may be unable to execute.
    ///
    /// # Errors
    /// The launcher failed in a step before execve.
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
            // The signal that execve kills it with: delivered.
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

    /// Start and end of the loader's mappings.
    ///
    /// # Errors
    /// No loader is mapped, or the process has ended.
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

    /// Name of the mapping at an address; `nothing` if there is none, or it has no name.
    fn mapping_of(&self, address: u64) -> Result<String> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
        let here = maps.lines().find(|line| {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            range.is_some_and(|(start, end)| (number(start)..number(end)).contains(&address))
        });
        Ok(here.and_then(|line| line.split_whitespace().nth(5)).unwrap_or("nothing").to_owned())
    }

    /// Size of its address space in bytes, for pages of 4 KiB.
    ///
    /// # Errors
    /// The process has ended.
    pub fn size(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid))?;
        let pages: u64 = statm.split_whitespace().next().context("statm")?.parse()?;
        Ok(pages * 4096)
    }

    /// Sets both values of a limit of the process, by the name that prlimit(1) has for it.
    ///
    /// # Errors
    /// prlimit(1) fails: no such name, or the limit would be raised.
    pub fn limit(&self, name: &str, value: u64) -> Result<()> {
        let mut prlimit = Command::new("prlimit");
        if self.user == User::Nobody {
            // Root without CAP_SYS_RESOURCE may not change the limits of other users' processes.
            prlimit.uid(NOBODY).gid(NOBODY);
        }
        prlimit.arg(format!("--pid={}", self.pid)).arg(format!("--{name}={value}:{value}"));
        let status = prlimit.status().context("prlimit")?;
        ensure!(status.success(), "prlimit of {name} to {value}: {status}");
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Its stack pointer.
    ///
    /// # Errors
    /// ptrace(2) fails: the process has ended.
    pub fn stack_pointer(&self) -> Result<u64> {
        Ok(ptrace::getregs(self.pid)?.rsp)
    }

    /// The word at an address of its memory.
    ///
    /// # Errors
    /// ptrace(2) fails: nothing is mapped there, or the process has ended.
    pub fn word(&self, address: u64) -> Result<u64> {
        let place = usize::try_from(address)? as ptrace::AddressType;
        Ok(ptrace::read(self.pid, place)?.cast_unsigned())
    }

    /// Writes the word at an address of its memory, also where the process itself may only read.
    ///
    /// # Errors
    /// ptrace(2) fails: nothing is mapped there, or the process has ended.
    pub fn set_word(&self, address: u64, value: u64) -> Result<()> {
        let place = usize::try_from(address)? as ptrace::AddressType;
        Ok(ptrace::write(self.pid, place, value.cast_signed())?)
    }

    /// The string at an address of its memory, up to its NUL.
    ///
    /// # Errors
    /// ptrace(2) fails before the NUL is read: nothing is mapped there, or the process has ended.
    pub fn string(&self, address: u64) -> Result<String> {
        let mut bytes = Vec::new();
        for at in (address..).step_by(8) {
            // Paths of the loader are on its stack or in its data: the rest of the last word is mapped as well.
            let word = self.word(at)?.to_le_bytes();
            let end = word.iter().position(|&byte| byte == 0);
            bytes.extend(word.iter().take(end.unwrap_or(8)));
            if end.is_some() {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Continues to the entry of the next system call; `None` if the process ends before it.
    ///
    /// # Errors
    /// ptrace(2) or waitpid(2) fails, or reports an event that was not asked for.
    pub fn next_call(&mut self) -> Result<Option<Call>> {
        if !self.go_on()? {
            return Ok(None);
        }
        let registers = ptrace::getregs(self.pid)?;
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        Ok(Some(Call { number: registers.orig_rax, arguments, place: registers.rip }))
    }

    /// Continues from the entry of a system call to its return, and gives its result; `None` if it does not return.
    ///
    /// # Errors
    /// See [`Self::next_call`].
    pub fn finish_call(&mut self) -> Result<Option<u64>> {
        if !self.go_on()? {
            return Ok(None);
        }
        Ok(Some(ptrace::getregs(self.pid)?.rax))
    }

    /// Skips the system call at whose entry the process is stopped: the process sees `result` in its place.
    ///
    /// # Errors
    /// See [`Self::next_call`]; or the process ends in the skipped call.
    pub fn replace_call(&mut self, result: u64) -> Result<()> {
        let mut registers = ptrace::getregs(self.pid)?;
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, registers)?;
        ensure!(self.finish_call()?.is_some(), "it ended in a system call that was not made");
        let mut registers = ptrace::getregs(self.pid)?;
        registers.rax = result;
        Ok(ptrace::setregs(self.pid, registers)?)
    }

    /// Continues to the next stop at a system call; `false` if the process ends before it.
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
    ///
    /// # Errors
    /// See [`Self::next_call`].
    pub fn finish(self) -> Result<Outcome> {
        Ok(self.finish_where()?.0)
    }

    /// Lets it run to its end; gives also the name of the mapping in which it got its last signal.
    ///
    /// # Errors
    /// See [`Self::next_call`].
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
            // SIGKILL ends it in any case; this only reaps it.
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Output of a process that has ended: at most what fits into a pipe.
fn text_of(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What could be read before an error is worth more than the error.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
