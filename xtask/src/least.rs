//! The least programs and the least interpreter that there can be: what others are counted and timed against.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::repo::Repo;
use crate::run::run;

/// What the programs exit with.
pub(crate) const STATUS: i32 = 17;

/// As the README has it.
fn by_stub() -> String {
    format!("-Wl,--no-dynamic-linker,-e,{}", abi::stub::ENTRY)
}

/// How a program is linked, and by what it is started.
#[derive(Clone, Copy)]
pub(crate) enum Link<'a> {
    /// ET_EXEC, by the kernel alone.
    Static,
    /// ET_DYN, by the kernel alone.
    StaticPie,
    /// ET_EXEC, by that interpreter.
    Exec(&'a Path),
    /// ET_DYN, by that interpreter.
    Pie(&'a Path),
    /// ET_EXEC, by a stub of rt0's.
    ExecStub(&'a Path),
    /// ET_DYN, by a stub of rt0's.
    PieStub(&'a Path),
}

/// Builds them in a directory.
pub(crate) struct Least {
    sources: PathBuf,
    directory: PathBuf,
}

impl Least {
    /// Builds go there.
    pub(crate) fn new(repo: &Repo, directory: PathBuf) -> Self {
        Self { sources: repo.root().join("xtask/audit"), directory }
    }

    /// Finds AT_ENTRY and jumps there: one executable segment and nothing to write, as no linker makes it unasked.
    pub(crate) fn interpreter(&self) -> Result<PathBuf> {
        let made = self.directory.join("trivial-interpreter.so");
        let mut script = OsString::from("-Wl,-T,");
        script.push(self.sources.join("one-segment.ld"));
        run(Command::new("gcc")
            .args(["-nostdlib", "-nostartfiles", "-static-pie"])
            .args(["-Wl,--no-dynamic-linker", "-Wl,--build-id=none"])
            .arg(script)
            .arg("-o")
            .args([made.clone(), self.sources.join("trivial-interpreter.S")]))?;
        std::fs::canonicalize(&made).context("the interpreter's path")
    }

    /// Exits with [`STATUS`] and does nothing else.
    pub(crate) fn program(&self, name: &str, link: Link<'_>) -> Result<PathBuf> {
        let made = self.directory.join(name);
        let mut gcc = Command::new("gcc");
        gcc.args(["-nostdlib", "-nostartfiles"]);
        match link {
            Link::Static => gcc.args(["-no-pie", "-static"]),
            Link::StaticPie => gcc.arg("-static-pie"),
            // Where nothing is linked dynamically, the linker makes no PT_INTERP.
            Link::Exec(interpreter) => {
                gcc.arg("-no-pie").arg(format!("-DINTERPRETER=\"{}\"", shown(interpreter)?))
            }
            Link::ExecStub(stub) => gcc.arg("-no-pie").arg(by_stub()).arg(stub),
            Link::PieStub(stub) => gcc.arg("-pie").arg(by_stub()).arg(stub),
            Link::Pie(interpreter) => gcc.arg("-pie").arg(format!("-Wl,--dynamic-linker={}", shown(interpreter)?)),
        };
        run(gcc.arg("-o").args([&made, &self.sources.join("exit17.S")]))?;
        Ok(made)
    }
}

/// An absolute path as text.
fn shown(path: &Path) -> Result<String> {
    let path = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
    Ok(path.to_str().context("a path is not UTF-8")?.to_owned())
}
