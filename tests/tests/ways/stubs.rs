//! The stubs of rt0 in difficult surroundings, and their refusals.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use abi::arch::NATIVE;
use abi::libcs::Libc;
use anyhow::{Result, ensure};
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::stage::{self, Stage};

use tests::linked::{Link, Programs};
use tests::root::{Holds, Namespaces, Root};

/// Unusual surroundings of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: &'static str,
    stub: &'static str,
    holds: Holds,
    /// The launcher's actions before it executes the program.
    words: &'static [&'static str],
    /// Mode of the program's file.
    mode: u32,
    /// Whether the program runs as `nobody`, not as root.
    pub(crate) as_nobody: bool,
    /// A line of the report, or the beginning of the refusal.
    says: Says,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Line(&'static str),
    Refusal(&'static str),
}

const USUAL: Scenario = Scenario {
    name: "",
    stub: "rt0.o",
    holds: Holds::ALL,
    words: &[],
    mode: 0o755,
    as_nobody: false,
    says: Says::Line("argv[0]: report"),
};

const NO_PROC: Holds = Holds { proc: false, ..Holds::ALL };
const NOT_INSTALLED: Holds = Holds { installed: false, ..Holds::ALL };
const REFUSED: &str = "slulrtld: can not run /lib/slulrtld-x86_64.so.1: install slulrtld\n";
const UNREADABLE: &str = "slulrtld: own file not readable: use rt0-map.o\n";

/// All of them.
pub(crate) const SCENARIOS: [Scenario; 21] = [
    Scenario { name: "rt0/no-proc", holds: NO_PROC, says: Says::Line("AT_EXECFN: report"), ..USUAL },
    Scenario { name: "rt0/closed", words: &["close=0", "close=1"], says: Says::Line(""), ..USUAL },
    Scenario { name: "rt0/open", words: &["fill=300"], says: Says::Line("descriptor: 299"), ..USUAL },
    Scenario { name: "rt0/close-on-exec", words: &["close-on-exec=/work"], ..USUAL },
    Scenario { name: "rt0/by-descriptor", words: &["by-descriptor=/work/report"], ..USUAL },
    Scenario {
        name: "rt0/by-descriptor-no-proc",
        holds: NO_PROC,
        words: &["by-descriptor=/work/report"],
        says: Says::Refusal(UNREADABLE),
        ..USUAL
    },
    Scenario {
        name: "rt0/unlinked",
        words: &["by-descriptor=/work/report", "unlink=/work/report"],
        says: Says::Line("AT_EXECFN: /work/report (deleted)"),
        ..USUAL
    },
    Scenario { name: "rt0/in-memory", words: &["in-memory=/work/report"], ..USUAL },
    Scenario { name: "rt0/not-installed", holds: NOT_INSTALLED, says: Says::Refusal(REFUSED), ..USUAL },
    Scenario { name: "rt0/unreadable", mode: 0o711, as_nobody: true, says: Says::Refusal(UNREADABLE), ..USUAL },
    Scenario { name: "map/no-proc", stub: "rt0-map.o", holds: NO_PROC, ..USUAL },
    Scenario { name: "map/in-memory", stub: "rt0-map.o", words: &["in-memory=/work/report"], ..USUAL },
    Scenario {
        name: "map/not-installed",
        stub: "rt0-map.o",
        holds: NOT_INSTALLED,
        says: Says::Refusal(REFUSED),
        ..USUAL
    },
    Scenario { name: "map/unreadable", stub: "rt0-map.o", mode: 0o711, as_nobody: true, ..USUAL },
    Scenario { name: "map/setuid", stub: "rt0-map.o", ..SET_ID },
    Scenario { name: "embed/no-proc", stub: "rt0-embed.o", holds: NO_PROC, ..USUAL },
    Scenario { name: "embed/not-installed", stub: "rt0-embed.o", holds: NOT_INSTALLED, ..USUAL },
    Scenario { name: "embed/unreadable", stub: "rt0-embed.o", mode: 0o711, as_nobody: true, ..USUAL },
    Scenario { name: "embed/setuid", stub: "rt0-embed.o", ..SET_ID },
    Scenario { name: "rt0/setuid", ..SET_ID },
    Scenario { name: "rt0/setuid-no-proc", holds: NO_PROC, says: Says::Refusal(UNREADABLE), ..SET_ID },
];

/// A set-id program: variables for the loader are removed, which shows that it saw AT_SECURE.
const SET_ID: Scenario = Scenario { mode: 0o4755, as_nobody: true, says: Says::Line("AT_SECURE: 1"), ..USUAL };

impl Scenario {
    /// Runs the report in these surroundings.
    pub(crate) fn check(&self, programs: &Programs, stage: &Stage) -> Result<()> {
        let root = Root::new(stage, self.holds)?;
        install(&programs.launcher(), &root.work("launch"))?;
        programs.report(Link::Stub(self.stub), false, &[], &root.work("report"))?;
        fs::set_permissions(root.work("report"), fs::Permissions::from_mode(self.mode))?;
        let mut words = vec!["cwd=/work"];
        words.extend(self.words);
        words.extend(self.as_nobody.then_some("id=65534"));
        words.extend(["--", "report", "report"]);
        let namespaces = if self.as_nobody { Namespaces::Real } else { Namespaces::OneId };
        let outcome = root.launch_as(namespaces, &[], &words)?;
        let as_it_should = match self.says {
            Says::Line("") => outcome.ending == Ending::Exit(SUCCESS),
            Says::Line(line) => {
                outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout.lines().any(|found| found == line)
            }
            Says::Refusal(text) => outcome.ending == Ending::Exit(127) && outcome.stderr == text,
        };
        let kept = self.mode & 0o4000 != 0 && outcome.stdout.contains("LD_LIBRARY_PATH");
        ensure!(as_it_should && !kept, "{:?}: {}", self.says, outcome.shown(self.name));
        Ok(())
    }
}

/// The single file runs, native call included, in a root with nothing but libc and the library.
pub(crate) fn check_embedded(libc: Libc, programs: &Programs, stage: &Stage) -> Result<()> {
    let holds = Holds { installed: false, libraries: false, proc: true, binfmt: false };
    let root = Root::new(stage, holds)?;
    install(&programs.launcher(), &root.work("launch"))?;
    let files: Vec<(String, &str)> = match libc {
        Libc::Gnu => {
            let library = |name| (format!("/usr/lib/{}/{name}", NATIVE.multiarch), "lib");
            vec![library("libc.so.6"), library("libz.so.1"), (libc.interpreter().to_owned(), "lib64")]
        }
        Libc::Musl => {
            let directory = stage::musl().unwrap_or_default();
            let library = directory.join("libz.so.1").display().to_string();
            vec![(libc.interpreter().to_owned(), "lib"), (library, "lib")]
        }
    };
    for (file, to) in files {
        fs::create_dir_all(root.path().join(to))?;
        let from = fs::canonicalize(&file)?;
        let name = file.rsplit('/').next().unwrap_or_default();
        install(&from, &root.path().join(to).join(name))?;
    }
    programs.report(Link::Stub("rt0-embed.o"), true, &["-lz"], &root.work("report"))?;
    let outcome = root.launch(&["cwd=/work", "--", "./report", "report", "last"])?;
    ensure!(outcome.ending == Ending::Exit(SUCCESS), "{}", outcome.shown("embedded"));
    Ok(())
}

/// The newer of the carried and the installed loader runs; a damaged one never does.
pub(crate) fn check_choice(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds::ALL)?;
    install(&programs.launcher(), &root.work("launch"))?;
    programs.report(Link::Stub("rt0-embed.o"), false, &[], &root.work("report"))?;
    let path = root.path().join("lib").join(stage::LOADER);
    let loader = fs::read(&path)?;
    let version = version_place(&loader)?;
    let run = |bytes: &[u8]| -> Result<Outcome> {
        fs::write(&path, bytes)?;
        root.launch(&["cwd=/work", "--", "./report", "report"])
    };
    // An installed loader whose code is a trap: the signal shows that it was taken.
    let mut trap = loader.clone();
    self::trap(&mut trap)?;
    let taken = |bytes: &[u8]| Ok::<_, anyhow::Error>(run(bytes)?.ending != Ending::Exit(SUCCESS));
    ensure!(taken(&trap)?, "the same version, installed, was not taken");
    trap[version] = 2;
    ensure!(taken(&trap)?, "a newer one was not taken");
    trap[version] = 0;
    ensure!(!taken(&trap)?, "an older one was taken");
    trap[version] = 2;
    trap[18] = 183;
    ensure!(!taken(&trap)?, "one for another machine was taken");
    for cut in [0, 1, 63, 4095] {
        ensure!(!taken(&trap[..cut])?, "{cut} bytes of one were taken");
    }
    Ok(())
}

/// Puts a trap at a loader's entry.
pub(crate) fn trap(loader: &mut [u8]) -> Result<()> {
    let entry = usize::try_from(u64::from_le_bytes(loader[24..32].try_into()?))?;
    loader[entry..entry + 2].copy_from_slice(&[0x0f, 0x0b]);
    Ok(())
}

/// Position of the version in the loader's note.
fn version_place(loader: &[u8]) -> Result<usize> {
    let note = abi::note::LoaderNote::new();
    let bytes = note.to_ne_bytes();
    let found = loader.windows(bytes.len()).position(|window| window == bytes);
    Ok(found.ok_or_else(|| anyhow::anyhow!("the loader has no version note"))? + bytes.len() - 4)
}
