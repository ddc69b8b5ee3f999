//! From a recipe to files, by gcc and rustc.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::damage::install;
use crate::part::{Part, PartKind};
use crate::recipe::{Need, Recipe};
use crate::stage::{self, LOADER, Stage};
use crate::workdir::Workdir;

/// gcc's options for all C.
const C: [&str; 5] = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"];

/// gcc's options for C without libc.
const FREESTANDING: [&str; 8] = [
    "-ffreestanding",
    "-fno-stack-protector",
    "-fPIC",
    "-nostdlib",
    "-nostartfiles",
    "-fno-tree-loop-distribute-patterns",
    "-Wl,--hash-style=gnu",
    "-Wl,--build-id=none",
];

/// gcc's options for programs: code of an executable, but no R_X86_64_COPY of the libraries' data.
const PROGRAM: [&str; 3] = ["-fPIE", "-pie", "-mno-direct-extern-access"];

/// Options of the linker for programs and libraries; a fixture's own flags come after them and override them.
const LINK: [&str; 4] = ["-Wl,--no-as-needed", "-Wl,--enable-new-dtags", "-Wl,-z,relro", "-Wl,-z,lazy"];

/// A fixture that is ready to run under one loader.
#[derive(Debug)]
pub struct Build {
    workdir: Workdir,
    program: PathBuf,
    loader: PathBuf,
    stage: Stage,
}

impl Build {
    /// Builds a variant of a fixture for a loader, in a work directory of its own.
    ///
    /// # Errors
    /// A compiler refuses the source, a file can not be copied, damaged or changed, or musl is needed and not there.
    pub fn new(recipe: &Recipe, stage: &Stage) -> Result<Self> {
        let workdir = Workdir::new()?;
        let stem = recipe.source.file_stem().context("a fixture without a name")?;
        let program = workdir.path().join(stem);
        let loader = workdir.path().join(if recipe.installed.is_some() { "lib" } else { "" }).join(LOADER);
        let build = Self { workdir, program, loader, stage: stage.clone() };
        build.install(&stage.loader(), &build.loader)?;
        for path in recipe.installed.iter().flatten() {
            build.install(&stage.root.join(path), &build.dir().join(path))?;
        }
        if recipe.needs == Some(Need::Musl) {
            build.copy_musl()?;
        }
        let (late, early): (Vec<_>, Vec<_>) = recipe.parts.iter().partition(|part| part.late);
        for part in &early {
            build.part(recipe, part)?;
        }
        for (name, target) in &recipe.symlinks {
            symlink(target, build.dir().join(name))?;
        }
        build.program(recipe)?;
        for stub in early.iter().filter(|part| part.kind == PartKind::Stub) {
            fs::remove_file(build.dir().join(&stub.name))?;
        }
        for part in &late {
            build.part(recipe, part)?;
        }
        for (name, damage) in &recipe.damages {
            damage.apply(&build.dir().join(build.expand(name)))?;
        }
        build.workdir.open_to_all()?;
        if let Some(id) = recipe.setid {
            chown(&build.program, Some(id), Some(id)).context("chown")?;
            fs::set_permissions(&build.program, Permissions::from_mode(0o6755))?;
        }
        Ok(build)
    }

    /// The work directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.workdir.path()
    }

    /// The program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// Copies a file into the work directory.
    fn install(&self, from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to.parent().context("a file in no directory")?)?;
        install(from, to)
    }

    /// Fills in the placeholders of a directive's value.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        text.replace("{prog}", "{dir}/{stem}")
            .replace("{stem}", &self.program.file_name().unwrap_or_default().to_string_lossy())
            .replace("{musl}", "{dir}/musl")
            .replace("{dir}", &self.dir().to_string_lossy())
            .replace("{stage}", &self.stage.root.to_string_lossy())
    }

    fn expand_all<'a>(&'a self, words: &'a [String]) -> impl Iterator<Item = String> + 'a {
        words.iter().map(|word| self.expand(word))
    }

    /// Copies the musl libraries to where every user can read them.
    fn copy_musl(&self) -> Result<()> {
        let from = stage::musl().with_context(|| format!("{} names no directory with libz.so.1", stage::MUSL))?;
        let to = self.dir().join("musl");
        fs::create_dir(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains(".so") {
                install(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Builds a shared object.
    fn part(&self, recipe: &Recipe, part: &Part) -> Result<()> {
        let output = self.dir().join(&part.name);
        if let Some(parent) = output.parent() {
            fs::create_dir_all(parent)?;
        }
        let source = part.from.as_ref().map_or_else(|| recipe.source.clone(), |file| stage::fixtures().join(file));
        let mut gcc = self.gcc();
        gcc.args(["-shared", "-fPIC"]).arg(part.define());
        if part.kind == PartKind::Library {
            gcc.arg("-DLIBRARY").args(FREESTANDING).args(LINK).args(self.expand_all(&recipe.flags));
        }
        gcc.args(self.expand_all(&part.flags)).arg("-o").arg(output).arg(source).args(self.search(recipe));
        gcc.args(part.needs.iter().map(|need| format!("-l:{need}")));
        run(&mut gcc)
    }

    /// Builds the program.
    fn program(&self, recipe: &Recipe) -> Result<()> {
        let interpreter = format!("-Wl,--dynamic-linker={}", self.loader.display());
        let linked = recipe.parts.iter().filter(|part| !part.indirect && !part.late);
        let mut link = self.search(recipe);
        link.extend(["-nostdlib".to_owned(), "-nostartfiles".to_owned(), interpreter]);
        link.extend(linked.map(|part| format!("-l:{}", part.name)));
        link.extend(self.expand_all(&recipe.link));
        let extension = recipe.source.extension().and_then(OsStr::to_str);
        let mut compiler = match extension {
            Some("c") => {
                let mut gcc = self.gcc();
                gcc.args(FREESTANDING).args(PROGRAM).args(LINK);
                gcc.args(self.expand_all(&recipe.flags)).args(self.expand_all(&recipe.program_flags));
                gcc.arg("-o").arg(&self.program).arg(&recipe.source).args(link);
                gcc
            }
            Some("rs") => {
                let mut rustc = Command::new("rustc");
                rustc.args(["--edition", "2024", "--crate-type", "bin", "-C", "panic=abort", "-C", "linker=gcc"]);
                rustc.args(LINK.map(|argument| format!("-Clink-arg={argument}")));
                rustc.args(self.expand_all(&recipe.flags)).args(self.expand_all(&recipe.program_flags));
                rustc.arg("-o").arg(&self.program).arg(&recipe.source);
                rustc.args(link.iter().map(|argument| format!("-Clink-arg={argument}")));
                rustc
            }
            _ => bail!("{}: neither .c nor .rs", recipe.source.display()),
        };
        compiler.current_dir(self.dir());
        run(&mut compiler)
    }

    /// gcc with what all C has in common.
    fn gcc(&self) -> Command {
        let mut gcc = Command::new("gcc");
        gcc.current_dir(self.dir()).args(C);
        gcc.arg("-I").arg(self.stage.include()).arg("-I").arg(stage::fixtures());
        gcc
    }

    /// Where the linker finds the parts, and where they are found at run time.
    fn search(&self, recipe: &Recipe) -> Vec<String> {
        let dir = self.dir().display();
        let mut flags = vec![format!("-L{dir}"), format!("-Wl,-rpath-link,{dir}")];
        flags.extend(recipe.rpath.iter().map(|path| format!("-Wl,-rpath,{}", self.expand(path))));
        flags
    }
}

/// Runs a compiler, or any other command, to its end.
///
/// # Errors
/// The command can not be executed, or its status is not 0; then the error has its standard error.
pub fn run(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("{} can not be run", command.get_program().display()))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{complaints}", output.status);
    Ok(())
}
