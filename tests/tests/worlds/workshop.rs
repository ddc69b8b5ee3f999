//! Cases become files. Object files that several cases use are compiled once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::objects::Objects;
use tests::stage::{LOADER, Stage};
use tests::workdir::Workdir;

use crate::case::{Case, Libc, Part};

/// Options of the compiler for all files.
const FLAGS: [&str; 5] = ["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];

/// Options of the compiler for libraries without libc.
const FREESTANDING: [&str; 3] = ["-ffreestanding", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns"];

/// Options of the linker for all objects; a case's own flags come after them and override them.
const LINK: [&str; 3] = ["-Wl,--no-as-needed", "-Wl,--enable-new-dtags", "-Wl,-z,lazy"];

/// The program of a case in one world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Without start files, and with slulrtld as its interpreter.
    Slulrtld,
    /// With start files and libc, by the compiler driver's defaults.
    Ordinary,
}

impl World {
    /// Path of the program in a directory.
    pub(crate) fn program(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Slulrtld => "program-for-slulrtld",
            Self::Ordinary => "program-for-libc",
        })
    }

    fn start(self) -> &'static str {
        match self {
            Self::Slulrtld => "start_slulrtld",
            Self::Ordinary => "start_libc",
        }
    }
}

/// What an object file is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unit {
    driver: &'static str,
    source: &'static str,
    flags: Vec<String>,
}

/// Compiles and links, for all cases.
pub(crate) struct Workshop {
    objects: Objects<Unit>,
    stage: Stage,
}

impl Workshop {
    pub(crate) fn new(stage: &Stage) -> Result<Self> {
        Ok(Self { objects: Objects::new()?, stage: stage.clone() })
    }

    /// Makes all files of a case for a libc, with the program for both worlds.
    pub(crate) fn build(&self, case: &Case, libc: Libc) -> Result<Workdir> {
        let workdir = Workdir::new()?;
        let dir = workdir.path();
        let mark = Part::native("libmark").of("mark");
        for part in case.parts.iter().chain([&mark]) {
            self.part(case, part, libc, dir).with_context(|| part.file())?;
        }
        let flags = owned(&["-fPIE"]).chain(case.flags.iter().chain(&case.compile).cloned()).collect();
        let object = self.object(&Unit { driver: libc.driver(), source: case.source, flags })?;
        for world in [World::Slulrtld, World::Ordinary] {
            self.program(case, libc, world, &object, dir)?;
        }
        for (file, relocation) in &case.has {
            let mut readelf = Command::new("readelf");
            let output = readelf.arg("-rW").arg(dir.join(file)).output().context("readelf can not be run")?;
            let has = String::from_utf8_lossy(&output.stdout).contains(relocation);
            ensure!(has, "{file} has no {relocation}, so this case is not what it says");
        }
        install(&self.stage.loader(), &dir.join(LOADER))?;
        workdir.open_to_all()?;
        Ok(workdir)
    }

    fn object(&self, unit: &Unit) -> Result<PathBuf> {
        self.objects.get(unit, unit.source, |output| self.compile(unit, output))
    }

    fn compile(&self, unit: &Unit, output: &Path) -> Result<()> {
        let mut compiler = Command::new(unit.driver);
        compiler
            .args((unit.driver == Libc::Musl.driver()).then_some("-DMUSL"))
            .args(FLAGS)
            .args(&unit.flags)
            .arg("-I")
            .arg(self.stage.include());
        run(compiler.arg("-c").arg(source_file(unit.source)?).arg("-o").arg(output))
    }

    fn part(&self, case: &Case, part: &Part, libc: Libc, dir: &Path) -> Result<()> {
        let source = part.source.unwrap_or(case.source);
        let cxx = source_file(source)?.extension().is_some_and(|extension| extension == "cc");
        let driver = match (libc, cxx) {
            (Libc::Gnu, true) => "g++",
            _ => libc.driver(),
        };
        let mut flags = vec!["-fPIC".to_owned(), format!("-DIN_{}", part.name)];
        if !part.native {
            flags.extend(owned(&FREESTANDING));
        }
        flags.extend(case.flags.iter().chain(&part.compile).cloned());
        let object = self.object(&Unit { driver, source, flags })?;
        let mut linker = Command::new(driver);
        linker.args(LINK).arg("-shared").arg(format!("-Wl,-soname,{}", part.file()));
        if !part.native {
            linker.args(["-nostdlib", "-Wl,--hash-style=gnu"]);
        }
        linker.arg(object).args(search(dir)).args(part.link.iter().map(|flag| expand(flag, dir)));
        run(linker.arg("-o").arg(dir.join(part.file())))
    }

    fn program(&self, case: &Case, libc: Libc, world: World, object: &Path, dir: &Path) -> Result<()> {
        let driver = libc.driver();
        let flags = owned(&["-fPIE"]).chain(owned(&case.start)).collect();
        let start = self.object(&Unit { driver, source: world.start(), flags })?;
        let mut linker = Command::new(driver);
        linker.args(LINK).arg(format!("-fuse-ld={}", case.linker.name())).arg(start).arg(object);
        linker.args(search(dir));
        let mut linked: Vec<_> = case.parts.iter().filter(|part| part.linked).collect();
        if case.native_first && libc == Libc::Musl {
            linked.sort_by_key(|part| !part.native);
        }
        linker.args(linked.iter().map(|part| format!("-l:{}", part.file())));
        linker.args(case.link.iter().map(|flag| expand(flag, dir)));
        if world == World::Slulrtld {
            linker.args(["-nostdlib", "-nostartfiles"]);
            if !case.start.is_empty() {
                linker.arg(self.stage.stub());
            }
            if case.marked && !case.parts.iter().any(|part| part.native && part.linked) {
                linker.arg("-l:libmark.so");
            }
            linker.arg(format!("-Wl,--dynamic-linker={}", dir.join(LOADER).display()));
            if !case.names_no_libc {
                linker.arg("-lc");
            }
        }
        run(linker.arg("-o").arg(world.program(dir)))
    }
}

fn owned<'a>(flags: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    flags.iter().map(ToString::to_string)
}

/// Fills in the work directory.
pub(crate) fn expand(text: &str, dir: &Path) -> String {
    text.replace("{dir}", &dir.to_string_lossy())
}

/// A source, in C or in C++.
fn source_file(name: &str) -> Result<PathBuf> {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worlds/sources"));
    let candidates = ["c", "cc"].map(|extension| sources.join(name).with_extension(extension));
    candidates
        .into_iter()
        .find(|path| fs::exists(path).unwrap_or(false))
        .with_context(|| format!("no source {name}"))
}

/// Where shared objects are found, now and at run time.
fn search(dir: &Path) -> [String; 3] {
    let dir = dir.display();
    [format!("-L{dir}"), format!("-Wl,-rpath-link,{dir}"), format!("-Wl,-rpath,{dir}")]
}
