//! The programs of `tests/ways/programs`, linked for each way in.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::run;
use crate::stage::{self, Stage};
use crate::workdir::Workdir;
use abi::arch::NATIVE;
use abi::stub::ENTRY;
use anyhow::Result;

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// With the loader in PT_INTERP.
    Interpreter,
    /// Without PT_INTERP and without a stub.
    Bare,
    /// With a stub, by its file name.
    Stub(&'static str),
}

/// Object files, compiled once for all tests.
pub struct Programs {
    dir: Workdir,
    stage: Stage,
}

impl Programs {
    /// Compiles them.
    ///
    /// # Errors
    /// gcc or ld fails.
    pub fn new(stage: &Stage) -> Result<Self> {
        let programs = Self { dir: Workdir::new()?, stage: stage.clone() };
        programs.compile("report", &[], "report.o")?;
        programs.compile("report", &["-DNATIVE"], "report-native.o")?;
        let eager = ["-DNATIVE", "-DEAGER", "-DPROGRAM_FLAGS=(SLUL_CALL_ENTRY | SLUL_EAGER_LIBC)"];
        programs.compile("report", &eager, "report-eager.o")?;
        programs.compile("launch", &[], "launch.o")?;
        let launcher = programs.dir.path().join("launch");
        run(Command::new("ld").arg("-static").arg("-o").arg(launcher).arg(programs.dir.path().join("launch.o")))?;
        Ok(programs)
    }

    fn compile(&self, source: &str, flags: &[&str], object: &str) -> Result<()> {
        let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ways/programs"));
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIE", "-ffreestanding"]);
        gcc.args(["-fno-stack-protector", "-fno-tree-loop-distribute-patterns"]).args(flags);
        gcc.arg("-I").arg(self.stage.include()).arg("-I").arg(stage::fixtures());
        run(gcc
            .arg("-c")
            .arg(sources.join(source).with_extension("c"))
            .arg("-o")
            .arg(self.dir.path().join(object)))
    }

    /// The program that prepares its process (descriptors, signals, names) and executes another one.
    pub fn launcher(&self) -> PathBuf {
        self.dir.path().join("launch")
    }

    /// A staged stub of rt0, by its file name.
    pub fn stub(&self, name: &str) -> PathBuf {
        self.stage.file(NATIVE.paths.library_dir).join(name)
    }

    /// Links the program that reports what it sees, with native needs or without, to the file `to`.
    ///
    /// # Errors
    /// ld fails.
    pub fn report(&self, link: Link, native: bool, libraries: &[&str], to: &Path) -> Result<()> {
        self.report_of(link, if native { "report-native.o" } else { "report.o" }, libraries, to)
    }

    /// Links one of the objects of that program: `report.o`, `report-native.o`, or `report-eager.o`, whose note asks for libc
    /// before the entry.
    ///
    /// # Errors
    /// ld fails.
    pub fn report_of(&self, link: Link, object: &str, libraries: &[&str], to: &Path) -> Result<()> {
        let mut ld = Command::new("ld");
        ld.args(["-pie", "--build-id=none", "-z", "noexecstack", "--as-needed"]);
        ld.arg(format!("-L/usr/lib/{}", NATIVE.multiarch));
        match link {
            Link::Interpreter => ld.args(["--dynamic-linker", NATIVE.paths.loader]),
            Link::Bare => ld.arg("--no-dynamic-linker"),
            Link::Stub(name) => ld.args(["--no-dynamic-linker", "-e", ENTRY]).arg(self.stub(name)),
        };
        run(ld.arg(self.dir.path().join(object)).args(libraries).arg("-o").arg(to))
    }
}
