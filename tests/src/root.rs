//! A root directory with the staged files installed, and processes in it. They have mount and user namespaces of their
//! own: nothing of this machine is changed, and no privilege is needed.

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

/// Contents of the root besides the program and the launcher.
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

/// The namespaces and the user of a process in a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Root of a user namespace that has this one id; any user can make it.
    OneId,
    /// The real root.
    Real,
    /// Root of a user namespace that has all ids; only the real root can make it.
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
    ///
    /// # Errors
    /// A directory can not be made, or the staged files can not be copied.
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

    /// Its path outside of it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file in its `work` directory.
    pub fn work(&self, name: &str) -> PathBuf {
        self.path().join("work").join(name)
    }

    /// Runs the launcher in it with these arguments, as [`Namespaces::OneId`], after `runslul-binfmt register` if the
    /// root has a binfmt_misc.
    ///
    /// # Errors
    /// The shell can not be executed. A namespace or a mount that fails is an outcome, with sh's status.
    pub fn launch(&self, words: &[&str]) -> Result<Outcome> {
        self.launch_as(Namespaces::OneId, &["register"], words)
    }

    /// Runs the launcher in it in these namespaces. If the root has a binfmt_misc, `runslul-binfmt` runs before it, once
    /// with each of the arguments in `binfmt`.
    ///
    /// # Errors
    /// See [`Self::launch`].
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

    /// The shell script that mounts the root's file systems, registers with binfmt_misc and executes the launcher.
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

/// Makes a user namespace with the ids 0 to 65535 of the machine, and enters it.
const ALL_IDS: &str = "unshare -U sleep 60 </dev/null >/dev/null 2>&1 & pid=$!
trap 'kill $pid' EXIT
while [ $(readlink /proc/$pid/ns/user) = $(readlink /proc/self/ns/user) ]; do :; done
echo 0 0 65536 >/proc/$pid/uid_map
echo 0 0 65536 >/proc/$pid/gid_map
nsenter -U -S 0 -G 0 -t $pid unshare -m";

/// The reason why this machine can run no process in such a root, if there is one.
pub fn refusal() -> Option<String> {
    let outcome = Command::new("/usr/bin/unshare").args(["-Urm", "true"]).output();
    match outcome.context("unshare") {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("no user namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// The reason why binfmt_misc can not be mounted there, if there is one. Each user namespace has its own since Linux
/// 6.7. Before, the mount is refused: a test can not register anything for the whole machine.
pub fn binfmt_refusal() -> Option<String> {
    let script = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc";
    let outcome = Command::new("/usr/bin/unshare").args(["-Urm", "sh", "-c", script]).output();
    let mounted = outcome.is_ok_and(|output| output.status.success());
    (!mounted).then(|| "no binfmt_misc in user namespaces".to_owned())
}
