//! Privileges: programs that keep them, and programs that are refused. An ordinary user runs a program of root's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use abi::paths::{self, SLULBIN};
use anyhow::{Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::Ending;
use tests::recipe::SUCCESS;
use tests::stage::{LOADER, Stage};

use crate::stubs;
use tests::linked::{Link, Programs};
use tests::root::{Holds, Namespaces, Root};

/// How the program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By its own name.
    Direct,
    /// By binfmt_misc, without and with the flag `C`.
    Binfmt { credentials: bool },
    /// By the loader, with these arguments.
    Loader(&'static [&'static str]),
    /// By the first line `#!` of its file.
    Line,
}

/// One program with privileges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: &'static str,
    link: Link,
    way: Way,
    /// Modes of the files.
    program: u32,
    loader: u32,
    /// Whether the program has a capability.
    capability: bool,
    /// Whether it calls a library. Its DT_RUNPATH, `$ORIGIN`, leads to a wrong one.
    native: bool,
    expected: Expected,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    /// AT_SECURE is set, variables for the loader are removed, and standard input, which was closed, is open.
    Secure,
    /// It runs as an ordinary program, without any of that.
    Ordinary,
    /// It is refused, in a line with this end.
    Refused(&'static str),
}

use Expected::{Ordinary, Refused, Secure};

const SET_ID: Case = Case {
    name: "",
    link: Link::Bare,
    way: Way::Direct,
    program: 0o4755,
    loader: 0o755,
    capability: false,
    native: false,
    expected: Secure,
};
const CAPABLE: Case = Case { program: 0o755, capability: true, ..SET_ID };
/// A loader that is installed set-id, by mistake.
const SET_ID_LOADER: Case = Case { program: 0o755, loader: 0o4755, expected: Refused(PRIVILEGES), ..SET_ID };

const PRIVILEGES: &str = "not run with privileges that are not its own\n";
const LOST: &str = "slulrtld: file capabilities would be lost: use rt0-map.o\n";
const PLAIN: Way = Way::Binfmt { credentials: false };
const WITH_CREDENTIALS: Way = Way::Binfmt { credentials: true };
const RUNSLUL: Way = Way::Loader(&["runslul", "/work/report"]);

/// All cases, except stubs in set-id programs, which are in `stubs`.
pub(crate) const CASES: [Case; 24] = [
    Case { name: "setuid/interpreter", link: Link::Interpreter, ..SET_ID },
    Case { name: "setuid/binfmt-credentials", way: WITH_CREDENTIALS, ..SET_ID },
    Case { name: "setgid/binfmt-credentials", way: WITH_CREDENTIALS, program: 0o2755, ..SET_ID },
    Case { name: "setuid/binfmt-credentials-unreadable", way: WITH_CREDENTIALS, program: 0o4711, ..SET_ID },
    Case { name: "setuid/binfmt", way: PLAIN, expected: Ordinary, ..SET_ID },
    Case { name: "unreadable/binfmt", way: PLAIN, program: 0o711, expected: Ordinary, ..SET_ID },
    Case { name: "setuid/runslul", way: RUNSLUL, expected: Ordinary, ..SET_ID },
    Case { name: "setuid/line", way: Way::Line, expected: Ordinary, ..SET_ID },
    Case { name: "setuid/interpreter-origin", link: Link::Interpreter, native: true, ..SET_ID },
    Case { name: "setuid/rt0-origin", link: Link::Stub("rt0.o"), native: true, ..SET_ID },
    Case { name: "setuid/embed-origin", link: Link::Stub("rt0-embed.o"), native: true, ..SET_ID },
    Case { name: "setuid/binfmt-origin", way: WITH_CREDENTIALS, native: true, ..SET_ID },
    Case { name: "capability/interpreter", link: Link::Interpreter, ..CAPABLE },
    Case { name: "capability/rt0", link: Link::Stub("rt0.o"), expected: Refused(LOST), ..CAPABLE },
    Case { name: "capability/map", link: Link::Stub("rt0-map.o"), ..CAPABLE },
    Case { name: "capability/embed", link: Link::Stub("rt0-embed.o"), ..CAPABLE },
    Case { name: "capability/embed-untrusted", link: Link::Stub("rt0-embed.o"), loader: 0o777, ..CAPABLE },
    Case { name: "capability/binfmt-credentials", way: WITH_CREDENTIALS, ..CAPABLE },
    Case { name: "capability/runslul", way: RUNSLUL, expected: Ordinary, ..CAPABLE },
    Case { name: "capability/line", way: Way::Line, expected: Ordinary, ..CAPABLE },
    Case { name: "loader/runslul", way: RUNSLUL, ..SET_ID_LOADER },
    Case {
        name: "loader/exec-fd",
        way: Way::Loader(&["runslul", "--exec-fd", "{fd}", "report"]),
        ..SET_ID_LOADER
    },
    Case { name: "loader/marker", way: Way::Loader(&["@000003", "report"]), ..SET_ID_LOADER },
    Case { name: "loader/binfmt", way: PLAIN, ..SET_ID_LOADER },
];

impl Case {
    /// Whether binfmt_misc has to be there.
    pub(crate) fn needs_binfmt(&self) -> bool {
        matches!(self.way, Way::Binfmt { .. })
    }

    /// Runs it.
    pub(crate) fn check(&self, programs: &Programs, stage: &Stage) -> Result<()> {
        let root = Root::new(stage, Holds { binfmt: self.needs_binfmt(), ..Holds::ALL })?;
        install(&programs.launcher(), &root.work("launch"))?;
        let libraries: &[&str] = if self.native { &["-rpath", "$ORIGIN", "-lz", "-lc"] } else { &[] };
        programs.report(self.link, self.native, libraries, &root.work("linked"))?;
        if self.native {
            fs::write(root.work("libz.so.1"), "the wrong one")?;
        }
        let subcommand = match self.way {
            Way::Binfmt { .. } => Some("mark"),
            Way::Line => Some("shebang"),
            Way::Direct | Way::Loader(_) => None,
        };
        let report = root.work("report");
        match subcommand {
            Some(subcommand) => {
                let mut slulbin = Command::new(stage.file(SLULBIN));
                run(slulbin.arg(subcommand).arg(root.work("linked")).arg("-o").arg(&report))?;
            }
            None => install(&root.work("linked"), &report)?,
        }
        fs::set_permissions(&report, fs::Permissions::from_mode(self.program))?;
        let loader = root.path().join("lib").join(LOADER);
        fs::set_permissions(&loader, fs::Permissions::from_mode(self.loader))?;
        if self.name.ends_with("untrusted") {
            // A loader that every user can write to must not run: this one would end by a trap.
            let mut bytes = fs::read(&loader)?;
            stubs::trap(&mut bytes)?;
            fs::write(&loader, bytes)?;
        }
        let mut words = vec!["cwd=/work"];
        words.extend(self.capability.then_some("capability=/work/report"));
        words.extend(["id=65534", "open=/work/linked", "close=0", "--"]);
        match self.way {
            Way::Loader(arguments) => {
                words.push(paths::RUNSLUL);
                words.extend(arguments);
            }
            _ => words.extend(["/work/report", "report", "last"]),
        }
        let register = match self.way {
            Way::Binfmt { credentials: true } => "register --credentials",
            _ => "register",
        };
        let namespaces = if self.needs_binfmt() { Namespaces::AllIds } else { Namespaces::Real };
        let outcome = root.launch_as(namespaces, &[register], &words)?;
        let ran = outcome.ending == Ending::Exit(SUCCESS) && outcome.stderr.is_empty();
        let says = |line: &str| outcome.stdout.lines().any(|found| found == line);
        let kept = outcome.stdout.contains("LD_LIBRARY_PATH");
        let as_it_should = match self.expected {
            Secure => ran && says("AT_SECURE: 1") && !kept && says("descriptor: 0"),
            Ordinary => ran && says("AT_SECURE: 0") && kept && !says("descriptor: 0"),
            Refused(text) => outcome.ending == Ending::Exit(127) && outcome.stderr.ends_with(text),
        };
        ensure!(as_it_should, "{:?}: {}", self.expected, outcome.shown(self.name));
        Ok(())
    }
}
