//! The smallest programs and the smallest interpreter: references for counts and times.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::repo::Repo;
use crate::run::run;

/// Exit status of the programs.
pub(crate) const STATUS: i32 = 17;

/// The options of README.md for programs with a stub.
fn by_stub() -> String {
    format!("-Wl,--no-dynamic-linker,-e,{}", abi::stub::ENTRY)
}

/// How a program is linked and started.
#[derive(Clone, Copy)]
pub(crate) enum Link<'a> {
    /// ET_EXEC, by the kernel alone.
    Static,
    /// ET_DYN, by the kernel alone.
    StaticPie,
    /// ET_EXEC, by this PT_INTERP.
    Exec(&'a Path),
    /// ET_DYN, by this PT_INTERP.
    Pie(&'a Path),
    /// ET_EXEC, by a stub of rt0's.
    ExecStub(&'a Path),
    /// ET_DYN, by a stub of rt0's.
    PieStub(&'a Path),
}

/// Builds them in `directory`.
pub(crate) struct Least {
    sources: PathBuf,
    directory: PathBuf,
}

impl Least {
    /// Files are built in `directory`.
    pub(crate) fn new(repo: &Repo, directory: PathBuf) -> Self {
        Self { sources: repo.root().join("xtask/audit"), directory }
    }

    /// An interpreter that finds AT_ENTRY and jumps there. A linker script gives it one executable segment and none
    /// that is writable, which no linker does by default.
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

    /// A program that exits with [`STATUS`].
    pub(crate) fn program(&self, name: &str, link: Link<'_>) -> Result<PathBuf> {
        let made = self.directory.join(name);
        let mut gcc = Command::new("gcc");
        gcc.args(["-nostdlib", "-nostartfiles"]);
        match link {
            Link::Static => gcc.args(["-no-pie", "-static"]),
            Link::StaticPie => gcc.arg("-static-pie"),
            // The linker makes no PT_INTERP if it links no shared object: exit17.S makes it.
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
