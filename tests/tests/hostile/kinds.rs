//! DT_NEEDED names a file that is not regular, or can not be read; and a program that can not be read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tests::launch::{Ending, Outcome};

use tests::start::Start;
use tests::verdict::{Complaints, REFUSED, judge, runs};
use tests::world::Case;

/// A file in the place of the library.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Directory,
    Fifo,
    Socket,
    Device,
    Terminal,
    Memory,
    Dangling,
    Loop,
    ToItself,
    Empty,
    Text,
    Script,
}

const KINDS: [Kind; 12] = [
    Kind::Directory,
    Kind::Fifo,
    Kind::Socket,
    Kind::Device,
    Kind::Terminal,
    Kind::Memory,
    Kind::Dangling,
    Kind::Loop,
    Kind::ToItself,
    Kind::Empty,
    Kind::Text,
    Kind::Script,
];

impl Kind {
    /// Whether it counts as absent: a name that is searched for is then left to libc.
    fn is_absence(self) -> bool {
        matches!(self, Self::Dangling | Self::Loop)
    }

    fn make(self, path: &Path, program: &Path) -> Result<()> {
        match self {
            Self::Directory => fs::create_dir(path)?,
            Self::Fifo => mkfifo(path, Mode::from_bits_truncate(0o644))?,
            // The socket's file stays after the listener is dropped.
            Self::Socket => drop(UnixListener::bind(path)?),
            Self::Device => symlink("/dev/zero", path)?,
            Self::Terminal => symlink("/dev/ptmx", path)?,
            // fstat(2) calls it a regular file.
            Self::Memory => symlink("/proc/self/mem", path)?,
            Self::Dangling => symlink("nowhere", path)?,
            Self::Loop => symlink(path, path)?,
            Self::ToItself => symlink(program, path)?,
            Self::Empty => fs::write(path, "")?,
            Self::Text => {
                fs::write(path, "nothing that anybody would take for a header, but long enough for one\n")?
            }
            Self::Script => fs::write(path, "#!/bin/sh\nexit 17\n")?,
        }
        Ok(())
    }
}

/// Checks that the program is refused in one line: the loader's or, for a file that counts as absent, libc's.
fn is_refused(outcome: &Outcome, kind: Kind) -> Result<()> {
    let one_line = outcome.stderr.ends_with('\n') && outcome.stderr.lines().count() == 1;
    let ended = outcome.ending == Ending::Exit(REFUSED) && outcome.stdout.is_empty() && one_line;
    if kind.is_absence() && ended && outcome.stderr.contains("libone.so") {
        return Ok(());
    }
    let verdict = judge(outcome, "never", &[""])?;
    if matches!(kind, Kind::ToItself) {
        // A sound file without the symbols.
        return Ok(());
    }
    ensure!(verdict.line().contains("libone.so"), "{verdict:?} does not name the library");
    Ok(())
}

/// Every kind of file, for a program that names the library in one way.
fn each(case: Case<'_>, program: &str) -> Result<()> {
    let mut complaints = Complaints::default();
    for kind in KINDS {
        let (workdir, program) = case.copy(program)?;
        let library = workdir.path().join("libone.so");
        fs::remove_file(&library)?;
        kind.make(&library, &program)?;
        let outcome = Start::new(&program, case.user).run()?;
        complaints.note(format!("{kind:?}"), is_refused(&outcome, kind));
    }
    complaints.verdict()
}

/// The library is found by a search.
pub(crate) fn searched(case: Case<'_>) -> Result<()> {
    each(case, "whole/sound")
}

/// The library is named by a path.
pub(crate) fn by_path(case: Case<'_>) -> Result<()> {
    each(case, "by_path")
}

/// Device nodes in place of the library, not links to them.
pub(crate) fn device_nodes(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for (kind, major, minor) in [("c", 1, 5), ("b", 7, 255)] {
        let (workdir, program) = case.copy("whole/sound")?;
        let library = workdir.path().join("libone.so");
        fs::remove_file(&library)?;
        let mut mknod = Command::new("mknod");
        mknod.arg("-m").arg("666").arg(&library).args([kind, &format!("{major}"), &format!("{minor}")]);
        ensure!(mknod.status()?.success(), "mknod");
        let outcome = Start::new(&program, case.user).run()?;
        complaints.note(format!("{kind} {major}:{minor}"), is_refused(&outcome, Kind::Device));
    }
    complaints.verdict()
}

/// A library that its user may not read counts as absent.
pub(crate) fn unreadable_library(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("whole/sound")?;
    fs::set_permissions(workdir.path().join("libone.so"), Permissions::from_mode(0o111))?;
    is_refused(&Start::new(&program, case.user).run()?, Kind::Dangling)
}

/// A program that its user may execute and not read: it runs, and the process is not dumpable, so that its user can not
/// read its memory.
pub(crate) fn unreadable_program(case: Case<'_>) -> Result<()> {
    // The kernel gives such a process the value of this file: 0, or 2.
    let dumpable = fs::read_to_string("/proc/sys/fs/suid_dumpable")?.trim().to_owned();
    let expected = format!("dumpable {dumpable:0>16}\n");
    let mut complaints = Complaints::default();
    for name in ["report/plain", "report/full", "report/native"] {
        let (_workdir, program) = case.copy(name)?;
        fs::set_permissions(&program, Permissions::from_mode(0o111))?;
        let outcome = Start::new(&program, case.user).arg("dumpable").run()?;
        complaints.note(name, runs(&outcome, &expected));
    }
    complaints.verdict()
}
