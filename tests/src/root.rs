//! A root directory with the staged files installed, and processes in it: in mount and user namespaces of their own, so
//! that nothing of this machine is touched, and no privilege is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::run;
use crate::launch::{Launch, Outcome, TIMEOUT, User};
use crate::stage::Stage;
use crate::workdir::Workdir;
use abi::arch::NATIVE;
use abi::paths::RUNSLUL_BINFMT;
use anyhow::{Context, Result};

/// What is in the root besides the program and the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// The staged files.
    pub installed: bool,
    /// The system's libraries for glibc, and /dev/null.
    pub libraries: bool,
    /// /proc.
    pub proc: bool,
    /// binfmt_misc, with the loader registered by `runslul-binfmt`.
    pub binfmt: bool,
}

/// As whom a process is in a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// As the root of a user namespace that anybody can make. It has no other ids.
    OneId,
    /// As the real root.
    Real,
    /// As the root of a user namespace that only the real root can make. It has all ids.
    AllIds,
}

impl Holds {
    /// A system with slulrtld.
    pub const ALL: Self = Self { installed: true, libraries: true, proc: true, binfmt: false };
}

/// Where the system's shared objects are, below the root.
fn libraries() -> String {
    format!("usr/lib/{}", NATIVE.multiarch)
}

/// A root directory.
pub struct Root {
    dir: Workdir,
    holds: Holds,
}

impl Root {
    /// Makes one.
    pub fn new(stage: &Stage, holds: Holds) -> Result<Self> {
        let dir = Workdir::new()?;
        let path = dir.path();
        if holds.installed {
            run(Command::new("cp").arg("-a").arg(stage.root.join(".")).arg(path))?;
        }
        for name in ["work", "proc", "lib", "binfmt"] {
            fs::create_dir_all(path.join(name))?;
        }
        if holds.libraries {
            for name in ["lib64", &libraries()] {
                fs::create_dir_all(path.join(name))?;
            }
            fs::create_dir(path.join("dev"))?;
            fs::write(path.join("dev/null"), "")?;
            std::os::unix::fs::symlink(format!("/{}", libraries()), path.join("lib").join(NATIVE.multiarch))?;
        }
        dir.open_to_all()?;
        Ok(Self { dir, holds })
    }

    /// Where it is outside.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file in its `work` directory.
    pub fn work(&self, name: &str) -> PathBuf {
        self.path().join("work").join(name)
    }

    /// Runs the launcher in it.
    pub fn launch(&self, words: &[&str]) -> Result<Outcome> {
        self.launch_as(Namespaces::OneId, &["register"], words)
    }

    /// The same as somebody, after `runslul-binfmt` has been run with each of these arguments.
    pub fn launch_as(&self, namespaces: Namespaces, binfmt: &[&str], words: &[&str]) -> Result<Outcome> {
        let before = match namespaces {
            Namespaces::OneId => "exec unshare -Urm",
            Namespaces::Real => "exec unshare -m",
            Namespaces::AllIds => ALL_IDS,
        };
        let script = self.script(binfmt);
        let outer = format!("set -e\n{before} sh -ec '{script}' sh \"$@\"");
        let mut args = ["-c", &outer, "sh", "/work/launch"].map(str::to_owned).to_vec();
        args.extend(words.iter().map(ToString::to_string));
        let launch = Launch {
            program: "/bin/sh".into(),
            args,
            env: vec![("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())],
            rlimit_stack: None,
            user: User::Oneself,
        };
        launch.run(TIMEOUT)
    }

    /// What makes the root and executes a program in it.
    fn script(&self, commands: &[&str]) -> String {
        let Holds { libraries, proc, binfmt, .. } = self.holds;
        let mut script = format!("cd {}\n", self.path().display());
        if libraries {
            let place = self::libraries();
            script += &format!("mount --rbind /{place} {place}\nmount --rbind /lib64 lib64\n");
            script += "mount --bind /dev/null dev/null\n";
        }
        if proc {
            script += "mount --rbind /proc proc\n";
        }
        if binfmt {
            script += "mount -t binfmt_misc none binfmt\n";
            for command in commands {
                script += &format!("chroot . {RUNSLUL_BINFMT} --binfmt-misc /binfmt {command}\n");
            }
        }
        script + "exec chroot . \"$@\""
    }
}

/// Makes a user namespace whose ids are those of the machine, and enters it.
const ALL_IDS: &str = "unshare -U sleep 60 </dev/null >/dev/null 2>&1 & pid=$!
trap 'kill $pid' EXIT
while [ $(readlink /proc/$pid/ns/user) = $(readlink /proc/self/ns/user) ]; do :; done
echo 0 0 65536 >/proc/$pid/uid_map
echo 0 0 65536 >/proc/$pid/gid_map
nsenter -U -S 0 -G 0 -t $pid unshare -m";

/// Why no process can be put into such a root, if so.
pub fn refusal() -> Option<String> {
    let outcome = Command::new("/usr/bin/unshare").args(["-Urm", "true"]).output();
    match outcome.context("unshare") {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("no user namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// Why binfmt_misc can not be mounted there, if so: each user namespace has its own since Linux 6.7. Before, a mount is
/// refused, so that nothing is ever registered for the whole machine.
pub fn binfmt_refusal() -> Option<String> {
    let script = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc";
    let outcome = Command::new("/usr/bin/unshare").args(["-Urm", "sh", "-c", script]).output();
    let mounted = outcome.is_ok_and(|output| output.status.success());
    (!mounted).then(|| "no binfmt_misc in user namespaces".to_owned())
}
