//! Runs attacks on a set-id program, and on its copy without privileges.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::start::Start;
use tests::workdir::Workdir;
use tests::world::Case;

/// An attacker's directory, with the libraries of `victim/evil` and further files of the attack.
pub(crate) struct Lair(Workdir);

impl Lair {
    /// A directory with these libraries.
    pub(crate) fn new(case: Case<'_>) -> Result<Self> {
        let (lair, evil) = (Workdir::new()?, case.world.program("victim/evil")?);
        for name in ["libone.so", "libtwo.so"] {
            install(&evil.dir().join(name), &lair.path().join(name))?;
        }
        Ok(Self(lair))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it, as text.
    pub(crate) fn place(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    /// Its libraries, of which none may be mapped.
    pub(crate) fn libraries(&self) -> [String; 2] {
        ["libone.so", "libtwo.so"].map(|name| self.place(name))
    }

    /// Makes a hard link to a program there; the link has the program's privileges.
    pub(crate) fn hard_link(&self, program: &Path) -> Result<PathBuf> {
        let link = self.path().join("linked");
        fs::hard_link(program, &link).context("hard link")?;
        Ok(link)
    }

    /// Makes a copy of a program there, without privileges.
    pub(crate) fn copy(&self, program: &Path) -> Result<PathBuf> {
        let copy = self.path().join("copied");
        install(program, &copy)?;
        Ok(copy)
    }
}

/// Expected outcome of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'e> {
    /// The program ran, and printed this.
    Ran(&'e str),
    /// The program printed this, and then was refused in this line.
    Refused(&'e str, &'e str),
}

impl Expected<'_> {
    /// Compares with an outcome.
    pub(crate) fn of(self, outcome: &Outcome) -> Result<()> {
        let (ending, stdout, stderr) = match self {
            Self::Ran(stdout) => (Ending::Exit(SUCCESS), stdout, String::new()),
            Self::Refused(stdout, line) => (Ending::Exit(127), stdout, format!("{line}\n")),
        };
        let wanted = Outcome { ending, stdout: stdout.to_owned(), stderr };
        ensure!(*outcome == wanted, "{}instead of\n{}", outcome.shown("found"), wanted.shown("wanted"));
        Ok(())
    }
}

/// Runs the attack on a program with privileges.
pub(crate) fn attacked(
    case: Case<'_>,
    program: &Path,
    attack: impl Fn(Start) -> Start,
    expected: Expected<'_>,
) -> Result<()> {
    expected.of(&attack(Start::new(program, case.user)).run()?).context("with privileges")
}

/// Runs the attack on a copy without privileges, where the user's variables count: shows that the attack works.
pub(crate) fn obeyed(
    case: Case<'_>,
    program: &Path,
    attack: impl Fn(Start) -> Start,
    expected: Expected<'_>,
) -> Result<()> {
    let lair = Workdir::new()?;
    let copy = lair.path().join("copied");
    install(program, &copy)?;
    expected.of(&attack(Start::new(&copy, case.user)).run()?).context("without privileges")
}
