//! A program is run as a certain user, for a limited time; its output and its end are kept.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a program may run.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of each of a program's outputs that are read; a program that writes more is broken.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// The user and group `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// The user that a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The superuser, if the tests run as root.
    Root,
    /// `nobody`, if the tests run as root.
    Nobody,
    /// The user of the tests, if that is not root.
    Oneself,
}

impl User {
    /// The users that the tests can run programs as: root and `nobody` for root, else the user of the tests.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn all() -> Result<&'static [Self]> {
        let owner = fs::metadata("/proc/self").context("/proc/self")?.uid();
        Ok(if owner == 0 { &[Self::Root, Self::Nobody] } else { &[Self::Oneself] })
    }

    /// Name of the user in the name of a test.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Nobody => "nobody",
            Self::Oneself => "self",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// It did not end in time, and was killed.
    Hang,
}

/// How a program ended, and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its status, its signal, or that it hung.
    pub ending: Ending,
    /// Its standard output, at most 1 MiB.
    pub stdout: String,
    /// Its standard error, at most 1 MiB.
    pub stderr: String,
}

impl Outcome {
    /// All of it, for a message: a line with `who` and the ending, then the output, indented.
    #[must_use]
    pub fn shown(&self, who: &str) -> String {
        let stdout = self.stdout.lines().map(|line| format!("    {line}\n"));
        let stderr = self.stderr.lines().map(|line| format!("    stderr: {line}\n"));
        let first = format!("{who}: {:?}\n", self.ending);
        [first].into_iter().chain(stdout).chain(stderr).collect()
    }
}

/// A program, and its process's arguments, environment, limit and user.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its path.
    pub program: OsString,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Both limits of RLIMIT_STACK in bytes, if other than the tests' own.
    pub rlimit_stack: Option<u64>,
    /// Its user.
    pub user: User,
}

impl Launch {
    /// Runs the program in the root directory, with an empty standard input. After `timeout` it is killed.
    ///
    /// # Errors
    /// The program, or prlimit(1) before it, can not be executed. A program that fails or hangs is an outcome.
    pub fn run(&self, timeout: Duration) -> Result<Outcome> {
        let mut command = self.command();
        command.current_dir("/").env_clear().envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.user == User::Nobody {
            // As root, this drops the supplementary groups as well.
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child =
            command.spawn().with_context(|| format!("{} can not be executed", self.program.display()))?;
        let stdout = read_in_background(child.stdout.take());
        let stderr = read_in_background(child.stderr.take());
        let ending = wait(&mut child, timeout)?;
        Ok(Outcome { ending, stdout: text_of(stdout), stderr: text_of(stderr) })
    }

    /// The command: the program, or prlimit(1), which lowers the limit and executes the program.
    fn command(&self) -> Command {
        let Some(bytes) = self.rlimit_stack else {
            let mut command = Command::new(&self.program);
            command.args(&self.args);
            return command;
        };
        let mut command = Command::new(Path::new("/usr/bin/prlimit"));
        command.arg(format!("--stack={bytes}:{bytes}")).arg(&self.program).args(&self.args);
        command
    }
}

fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What could be read before an error is worth more than the error.
            let _ = pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes);
        }
        bytes
    })
}

fn text_of(reader: JoinHandle<Vec<u8>>) -> String {
    let bytes = reader.join().unwrap_or_else(|_| b"(the reader of this output panicked)".to_vec());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child, timeout: Duration) -> Result<Ending> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ending_of(status));
        }
        if start.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            return Ok(Ending::Hang);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn ending_of(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exit(code),
        (None, signal) => Ending::Signal(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Launch, TIMEOUT, User};
    use std::time::Duration;

    fn shell(script: &str) -> Launch {
        Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("A".to_owned(), "b".to_owned())],
            rlimit_stack: None,
            user: User::Oneself,
        }
    }

    #[test]
    fn outcome_in_full() {
        let outcome = shell("echo $A; echo err >&2; pwd; exit 3").run(TIMEOUT).unwrap();
        assert_eq!(outcome.ending, Ending::Exit(3));
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("b\n/\n", "err\n"));
        assert_eq!(shell("kill -11 $$").run(TIMEOUT).unwrap().ending, Ending::Signal(11));
    }

    #[test]
    fn a_hang_is_an_ending() {
        let outcome = shell("echo before; exec sleep 60").run(Duration::from_millis(200)).unwrap();
        assert_eq!((outcome.ending, outcome.stdout.as_str()), (Ending::Hang, "before\n"));
    }

    #[test]
    fn limit_of_the_stack() {
        let launch = Launch { rlimit_stack: Some(1 << 20), ..shell("ulimit -s; ulimit -Hs") };
        assert_eq!(launch.run(TIMEOUT).unwrap().stdout, "1024\n1024\n");
    }

    #[test]
    fn every_user_is_who_it_says() {
        for &user in User::all().unwrap() {
            let outcome = Launch { user, ..shell("id -u; id -G") }.run(TIMEOUT).unwrap();
            match user {
                User::Root => assert!(outcome.stdout.starts_with("0\n")),
                User::Nobody => assert_eq!(outcome.stdout, "65534\n65534\n"),
                User::Oneself => assert!(!outcome.stdout.starts_with("0\n")),
            }
        }
    }
}
