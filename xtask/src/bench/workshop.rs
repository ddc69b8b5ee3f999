//! Builds the benches' programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::paths::{INCLUDE, in_tree};
use anyhow::{Context, Result};

use crate::repo::Repo;
use crate::run::{cargo, run, step};
use crate::stage::Stage;

/// Sources from `bench/`, the staged loader, and a directory to build in.
pub(crate) struct Workshop<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) stage: &'a Stage,
    sources: PathBuf,
    directory: PathBuf,
}

impl<'a> Workshop<'a> {
    /// Builds go to `target/bench/<name>`.
    pub(crate) fn new(repo: &'a Repo, stage: &'a Stage, name: &str) -> Result<Self> {
        let directory = fs::canonicalize(repo.fresh_dir(&format!("bench/{name}"))?)?;
        Ok(Self { repo, stage, sources: repo.root().join("bench"), directory })
    }

    /// Path of a built file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a source.
    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.sources.join(name)
    }

    /// Compiles a helper of the measurement.
    pub(crate) fn host(&self, name: &str, source: &str) -> Result<PathBuf> {
        self.compile("gcc", name, source, &[])
    }

    /// Compiles and links a program with a compiler's defaults, and options.
    pub(crate) fn compile(&self, compiler: &str, name: &str, source: &str, options: &[&str]) -> Result<PathBuf> {
        let made = self.path(name);
        run(Command::new(compiler)
            .args(["-O2", "-Wall", "-Wextra", "-o"])
            .args([&made, &self.source(source)])
            .arg(format!("-L{}", text(&self.directory)?))
            .args(options))?;
        Ok(made)
    }

    /// Builds a crate of `bench/`, which is a workspace of its own, and returns the directory with its files.
    pub(crate) fn build_crate(&self, name: &str) -> Result<PathBuf> {
        step(format!("build the crate bench/{name}"));
        let target = self.repo.target().join("bench").join(name);
        run(cargo(&self.source(name))
            .args(["build", "--quiet", "--release", "--locked", "--target-dir"])
            .arg(&target))?;
        Ok(target.join("release"))
    }

    /// A program without libc for the staged loader.
    pub(crate) fn libc_free(&self, name: &str, source: &str, options: &[&str]) -> Result<PathBuf> {
        let include = format!("-I{}", text(&self.stage.root.join(in_tree(INCLUDE)))?);
        let interpreter = format!("-Wl,--dynamic-linker={}", text(&self.stage.loader)?);
        let mut all = vec!["-nostdlib", "-nostartfiles", "-fno-stack-protector", "-fPIE", "-pie"];
        all.extend([include.as_str(), interpreter.as_str()]);
        all.extend(options);
        self.compile("gcc", name, source, &all)
    }
}

/// A path as an option's text.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: not UTF-8", path.display()))
}
