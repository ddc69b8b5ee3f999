//! A process in unusual surroundings: their description, and the child that produces them in itself.
//!
//! The child is this test program, executed once more with `--launch` and a list of steps. The last step executes the
//! program under test. So no code runs between fork and exec in a process with threads.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::launch::{Launch, Outcome, TIMEOUT, User};
use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::personality::{self, Persona};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chroot, close, execve, setgid, setgroups, setuid};

/// First argument of the child.
pub const LAUNCH: &str = "--launch";

/// Exit status of a child that could not become the program.
pub const FAILED: i32 = 125;

/// The user and group `nobody` and `nogroup`.
pub const NOBODY: u32 = 65534;

/// A program, and the state of its process at its start.
#[derive(Clone, Debug)]
pub struct Start {
    program: String,
    arguments: Vec<String>,
    steps: Vec<String>,
    user: User,
}

impl Start {
    /// A start by the program's path, with an empty environment.
    pub fn new(program: &Path, user: User) -> Self {
        let program = program.to_string_lossy().into_owned();
        Self { arguments: vec![program.clone()], program, steps: Vec::new(), user }
    }

    /// The user of the process.
    pub fn user(&self) -> User {
        self.user
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// `argv[0]`, if other than the program's path.
    pub fn called(mut self, name: &str) -> Self {
        self.arguments = [name.to_owned()].into_iter().chain(self.arguments.into_iter().skip(1)).collect();
        self
    }

    /// An argc of 0.
    pub fn no_arguments(self) -> Self {
        Self { arguments: Vec::new(), ..self }
    }

    fn step(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.steps.push(format!("{name}={value}"));
        self
    }

    /// A string of the environment, with `=` or without.
    pub fn env(self, string: &str) -> Self {
        self.step("env", string)
    }

    /// `count` strings `A` in the environment.
    pub fn env_many(self, count: usize) -> Self {
        self.step("env-many", count)
    }

    /// A root directory.
    pub fn chroot(self, root: &Path) -> Self {
        self.namespaces().step("chroot", root.display())
    }

    /// A directory that is mounted `noexec`.
    pub fn noexec(self, directory: &Path) -> Self {
        self.namespaces().step("noexec", directory.display())
    }

    /// A mount namespace, and for an ordinary user a user namespace, so that the next steps are permitted.
    fn namespaces(self) -> Self {
        let kind = if self.user == User::Oneself { "user" } else { "mount" };
        self.step("namespaces", kind)
    }

    /// Flags of personality(2).
    pub fn persona(self, flags: Persona) -> Self {
        self.step("persona", flags.bits())
    }

    /// Both values of a limit in bytes, in force while the kernel executes the program. Names are those of prlimit(1):
    /// `as`, `data`, `fsize`, `stack`.
    pub fn limit(self, name: &str, bytes: u64) -> Self {
        self.step(&format!("limit-{name}"), bytes)
    }

    /// A file, open for reading as the lowest free descriptor: the first one is 3.
    pub fn open(self, path: &Path) -> Self {
        self.step("open", path.display())
    }

    /// The current directory.
    pub fn directory(self, path: &Path) -> Self {
        self.step("directory", path.display())
    }

    /// A file that is removed after the files of earlier steps are open.
    pub fn unlink(self, path: &Path) -> Self {
        self.step("unlink", path.display())
    }

    /// A descriptor that is closed, as one of the last steps.
    pub fn close(self, descriptor: RawFd) -> Self {
        self.step("close", descriptor)
    }

    /// The command of the child. With `traced` the child calls PTRACE_TRACEME and stops at the program's first
    /// instruction.
    ///
    /// # Errors
    /// The path of this test program is not known.
    pub fn command(&self, traced: bool) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env_clear().current_dir("/").args(self.launch_arguments(traced));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    fn launch_arguments(&self, traced: bool) -> Vec<String> {
        // Descriptors and limits last: until then the child may have to write a message, and to allocate memory.
        let is_late = |step: &String| step.starts_with("close=") || step.starts_with("limit-");
        let (last, mut steps): (Vec<_>, Vec<_>) = self.steps.iter().cloned().partition(is_late);
        if self.user == User::Nobody {
            steps.push("nobody=".to_owned());
        }
        if traced {
            steps.push("traced=".to_owned());
        }
        let arguments = self.arguments.iter().map(|argument| format!("arg={argument}"));
        let program = format!("exec={}", self.program);
        [LAUNCH.to_owned()].into_iter().chain(steps).chain(arguments).chain(last).chain([program]).collect()
    }

    /// Runs it, untraced.
    ///
    /// # Errors
    /// The child can not be executed. A step that fails is an outcome with status [`FAILED`].
    pub fn run(&self) -> Result<Outcome> {
        let launch = Launch {
            program: std::env::current_exe()?.into(),
            args: self.launch_arguments(false),
            env: Vec::new(),
            rlimit_stack: None,
            user: User::Oneself,
        };
        launch.run(TIMEOUT)
    }
}

/// The child's main function: performs each step. The last one executes the program.
///
/// # Errors
/// A step is unknown or fails, or the program can not be executed: then the error has `execute ` and its path.
pub fn launch(steps: impl Iterator<Item = String>) -> Result<Infallible> {
    let (mut arguments, mut environment) = (Vec::new(), Vec::new());
    close_others()?;
    for step in steps {
        let (name, value) = step.split_once('=').context("a step without `=`")?;
        match name {
            "env" => environment.push(CString::new(value)?),
            "env-many" => environment.extend(vec![c"A".to_owned(); value.parse()?]),
            "arg" => arguments.push(CString::new(value)?),
            "namespaces" => {
                let user = if value == "user" { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
                unshare(user | CloneFlags::CLONE_NEWNS).context("unshare")?;
            }
            "noexec" => mount_noexec(value).with_context(|| format!("mount on {value}"))?,
            "chroot" => {
                chroot(value).with_context(|| format!("chroot to {value}"))?;
                std::env::set_current_dir("/")?;
            }
            "persona" => {
                personality::set(Persona::from_bits_retain(value.parse()?))?;
            }
            "limit-as" => limit(Resource::RLIMIT_AS, value)?,
            "limit-data" => limit(Resource::RLIMIT_DATA, value)?,
            "limit-fsize" => limit(Resource::RLIMIT_FSIZE, value)?,
            "limit-stack" => limit(Resource::RLIMIT_STACK, value)?,
            "nobody" => {
                setgroups(&[])?;
                setgid(Gid::from_raw(NOBODY))?;
                setuid(Uid::from_raw(NOBODY))?;
            }
            "traced" => ptrace::traceme()?,
            // The descriptor is the program's: it stays open.
            "open" => std::mem::forget(open(value, OFlag::O_RDONLY, Mode::empty()).context("open")?),
            "directory" => std::env::set_current_dir(value).context("chdir")?,
            "unlink" => std::fs::remove_file(value).context("unlink")?,
            "close" => close(value.parse::<RawFd>()?)?,
            "exec" => {
                let program = CString::new(value)?;
                let Err(error) = execve(&program, &arguments, &environment);
                return Err(error).with_context(|| format!("execute {value}"));
            }
            _ => bail!("{name}: no such step"),
        }
    }
    bail!("no program to become");
}

/// Sets both limits.
fn limit(resource: Resource, bytes: &str) -> Result<()> {
    let bytes = bytes.parse()?;
    Ok(setrlimit(resource, bytes, bytes)?)
}

/// Mounts a directory on itself, so that nothing in it may be executed.
fn mount_noexec(directory: &str) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some(directory), directory, NONE, MsFlags::MS_BIND, NONE)?;
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NONE, directory, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, NONE)
}

/// Closes the inherited descriptors above 2, so that a program sees the same ones wherever the tests run.
fn close_others() -> Result<()> {
    let numbers =
        std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for descriptor in numbers.filter(|&number: &RawFd| number > 2).collect::<Vec<_>>() {
        // The descriptor of the directory itself is closed by now.
        let _ = close(descriptor);
    }
    Ok(())
}
