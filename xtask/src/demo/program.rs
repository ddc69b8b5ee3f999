//! The demo's program: its build, and its output.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::paths::{INCLUDE, in_tree};
use anyhow::{Context, Result};

use super::maps::Maps;
use crate::musl;
use crate::repo::Repo;
use crate::run::{output, run, step};
use crate::stage::Stage;

/// The zlib that it is linked with.
pub(crate) enum Zlib {
    /// The one `-lz` finds.
    System,
    /// The one made for musl.
    Musl(musl::Zlib),
}

/// Builds the program.
pub(crate) struct Builder {
    source: PathBuf,
    directory: PathBuf,
    include: PathBuf,
    loader: PathBuf,
}

/// A built program.
pub(crate) struct Program {
    /// Its path, spelt like in its maps.
    pub(crate) path: PathBuf,
    loader: PathBuf,
}

impl Builder {
    /// A builder with an empty directory.
    pub(crate) fn new(repo: &Repo, stage: &Stage) -> Result<Self> {
        let directory = repo.fresh_dir("demo")?;
        Ok(Self {
            source: repo.root().join("xtask/demo/zdemo.c"),
            directory: fs::canonicalize(directory)?,
            include: stage.root.join(in_tree(INCLUDE)),
            loader: stage.loader.clone(),
        })
    }

    /// The source without libc and start-up code, for the staged loader.
    pub(crate) fn libc_free(&self, name: &str, zlib: &Zlib) -> Result<Program> {
        step(format!("build {name}, libc-free"));
        let mut gcc = Command::new("gcc");
        gcc.args(["-nostdlib", "-nostartfiles", "-ffreestanding"])
            .args(["-fPIE", "-pie", "-O2", "-fno-stack-protector"])
            .arg("-I")
            .arg(&self.include)
            .arg("-Wl,-e,entry")
            .arg(joined("-Wl,--dynamic-linker=", &self.loader));
        if let Zlib::Musl(musl::Zlib { include, lib }) = zlib {
            gcc.arg("-I").arg(include).arg("-L").arg(lib);
            gcc.arg(joined("-Wl,--enable-new-dtags,-rpath,", lib));
            // The symbols that it needs are bound by musl's ld.so.
            gcc.arg("-Wl,--allow-shlib-undefined");
        }
        let library = match zlib {
            Zlib::System => "-lz",
            Zlib::Musl(_) => "-l:libz.so.1",
        };
        self.finish(gcc, name, library)
    }

    /// The source as an ordinary dynamic executable.
    pub(crate) fn ordinary(&self, name: &str) -> Result<Program> {
        step(format!("build {name}, with the system's libc"));
        let mut gcc = Command::new("gcc");
        gcc.args(["-DORDINARY", "-O2"]);
        self.finish(gcc, name, "-lz")
    }

    fn finish(&self, mut gcc: Command, name: &str, library: &str) -> Result<Program> {
        let path = self.directory.join(name);
        gcc.arg("-o").args([&path, &self.source]).arg(library);
        run(&mut gcc)?;
        Ok(Program { path, loader: self.loader.clone() })
    }
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(option);
    joined.push(path);
    joined
}

impl Program {
    /// Runs it and reads what it prints.
    pub(crate) fn run(&self, arguments: &[&OsStr]) -> Result<Report> {
        let printed = output(Command::new(&self.path).args(arguments))?;
        let ours = [&self.path, &self.loader].map(|path| path.display().to_string());
        Ok(Report::parse(&printed, &ours))
    }
}

/// The program's output: `name value` lines, and maps between `maps when` and `end of maps`.
pub(crate) struct Report {
    values: BTreeMap<String, String>,
    maps: BTreeMap<String, Maps>,
}

impl Report {
    fn parse(printed: &str, ours: &[String]) -> Self {
        let mut values = BTreeMap::new();
        let mut maps = BTreeMap::new();
        let mut lines = printed.lines();
        while let Some(line) = lines.next() {
            match line.split_once(' ') {
                Some(("maps", when)) => {
                    let mapped = lines.by_ref().take_while(|line| *line != "end of maps");
                    maps.insert(when.to_owned(), Maps::parse(mapped, ours));
                }
                Some((name, value)) => {
                    values.insert(name.to_owned(), value.to_owned());
                }
                None => {}
            }
        }
        Self { values, maps }
    }

    /// The maps that it printed at that time.
    pub(crate) fn maps(&self, when: &str) -> Result<&Maps> {
        let maps = self.maps.get(when);
        maps.with_context(|| format!("the program showed no maps {when}"))
    }

    /// A value it printed.
    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        let value = self.values.get(name).map(String::as_str);
        value.with_context(|| format!("the program printed no {name}"))
    }

    /// A number it printed.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("{name} {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_maps_are_told_apart() {
        let line = "1000-3000 r-xp 00000000 fe:00 12 /it";
        let printed = format!("zlib 1.3\nmaps now\n{line}\nend of maps\nfirst-call 17\n");
        let report = Report::parse(&printed, &["/it".to_owned()]);
        assert_eq!(report.text("zlib").unwrap(), "1.3");
        assert_eq!(report.number("first-call").unwrap(), 17);
        assert!(report.number("zlib").is_err());
        assert!(report.maps("now").unwrap().require_only_ours().is_ok());
        assert!(report.maps("then").is_err());
    }
}
