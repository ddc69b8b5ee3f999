//! A process that is to start in unusual surroundings: what it is to be like, and the child that makes itself so.
//!
//! The child is this test program, executed once more with `--launch` and a list of steps, the last of which is to
//! become the program under test. So nothing has to run between fork and exec.

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

/// A program, and what its process is like when it starts.
#[derive(Clone, Debug)]
pub struct Start {
    program: String,
    arguments: Vec<String>,
    steps: Vec<String>,
    user: User,
}

impl Start {
    /// Started by its path, with an empty environment.
    pub fn new(program: &Path, user: User) -> Self {
        let program = program.to_string_lossy().into_owned();
        Self { arguments: vec![program.clone()], program, steps: Vec::new(), user }
    }

    /// As whom.
    pub fn user(&self) -> User {
        self.user
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Another first argument than its path.
    pub fn called(mut self, name: &str) -> Self {
        self.arguments = [name.to_owned()].into_iter().chain(self.arguments.into_iter().skip(1)).collect();
        self
    }

    /// No arguments at all.
    pub fn no_arguments(self) -> Self {
        Self { arguments: Vec::new(), ..self }
    }

    fn step(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.steps.push(format!("{name}={value}"));
        self
    }

    /// A string of the environment, as it is.
    pub fn env(self, string: &str) -> Self {
        self.step("env", string)
    }

    /// So many strings `A` in the environment.
    pub fn env_many(self, count: usize) -> Self {
        self.step("env-many", count)
    }

    /// Another root directory.
    pub fn chroot(self, root: &Path) -> Self {
        self.namespaces().step("chroot", root.display())
    }

    /// A directory on which nothing may be executed.
    pub fn noexec(self, directory: &Path) -> Self {
        self.namespaces().step("noexec", directory.display())
    }

    /// Namespaces in which it may do the next steps.
    fn namespaces(self) -> Self {
        let kind = if self.user == User::Oneself { "user" } else { "mount" };
        self.step("namespaces", kind)
    }

    /// Flags of personality(2).
    pub fn persona(self, flags: Persona) -> Self {
        self.step("persona", flags.bits())
    }

    /// A limit that holds already while the kernel executes the program, by the name that prlimit(1) has for it: `as`,
    /// `data`, `stack`.
    pub fn limit(self, name: &str, bytes: u64) -> Self {
        self.step(&format!("limit-{name}"), bytes)
    }

    /// A file that is open, as descriptor 3.
    pub fn open(self, path: &Path) -> Self {
        self.step("open", path.display())
    }

    /// The directory that it starts in.
    pub fn directory(self, path: &Path) -> Self {
        self.step("directory", path.display())
    }

    /// A file that loses its name, after what was opened before is open.
    pub fn unlink(self, path: &Path) -> Self {
        self.step("unlink", path.display())
    }

    /// A descriptor that is closed.
    pub fn close(self, descriptor: RawFd) -> Self {
        self.step("close", descriptor)
    }

    /// The command that does all of it.
    pub fn command(&self, traced: bool) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env_clear().current_dir("/").args(self.launch_arguments(traced));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    fn launch_arguments(&self, traced: bool) -> Vec<String> {
        // Descriptors and limits last: until then the child may have something to say, and memory to ask for.
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

/// The child: does each step, and so becomes the program.
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
            "limit-stack" => limit(Resource::RLIMIT_STACK, value)?,
            "nobody" => {
                setgroups(&[])?;
                setgid(Gid::from_raw(NOBODY))?;
                setuid(Uid::from_raw(NOBODY))?;
            }
            "traced" => ptrace::traceme()?,
            // The program's from then on.
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

/// Closes what whoever started the tests has left open, beyond the first three descriptors.
fn close_others() -> Result<()> {
    let numbers =
        std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for descriptor in numbers.filter(|&number: &RawFd| number > 2).collect::<Vec<_>>() {
        // That of the directory itself is closed by now.
        let _ = close(descriptor);
    }
    Ok(())
}
