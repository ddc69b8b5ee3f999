//! Builds the loader, and the host tools that are installed with it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;
use clap::ValueEnum;
use libc_template::Libc;

use crate::repo::Repo;
use crate::run::{cargo, line, step};

/// A build of the loader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// What is installed.
    Release,
    /// What shows a missing bootstrap: it has many relocations, and checks overflow.
    Debug,
}

impl Profile {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }
}

/// Builds the loader in that profile; returns the executable as linked, with its symbols.
pub(crate) fn build(repo: &Repo, profile: Profile) -> Result<PathBuf> {
    step(format!("build the loader, {}", profile.name()));
    executable(repo, profile, "rtld", "slulrtld")
}

/// Builds a program of a package in that profile.
pub(crate) fn executable(repo: &Repo, profile: Profile, package: &str, name: &str) -> Result<PathBuf> {
    build_program(repo, profile, package, name, None)
}

/// Builds `slulrtld-using-libc`; musl's is linked by `musl-gcc`, in a directory of its own.
pub(crate) fn build_using_libc(repo: &Repo, profile: Profile, libc: Libc) -> Result<PathBuf> {
    step(format!("build slulrtld-using-libc, {}, {}", libc.name(), profile.name()));
    let driver = match libc {
        Libc::Gnu => None,
        Libc::Musl => Some("musl-gcc"),
    };
    build_program(repo, profile, "using-libc", "slulrtld-using-libc", driver)
}

/// Builds a program; with the compiler driver that links it, if it is not the usual one.
fn build_program(
    repo: &Repo,
    profile: Profile,
    package: &str,
    program: &str,
    driver: Option<&str>,
) -> Result<PathBuf> {
    let mut command = cargo(repo.root());
    // Not `build`: only the program itself is for another linker, not build scripts.
    command.args(["rustc", "--package", package, "--bin", program]);
    // cargo says where the executable is, so that no configuration of its directories matters.
    command.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    if let Some(driver) = driver {
        command.arg("--target-dir").arg(repo.target().join(driver)).arg("--");
        command.arg(format!("-Clinker={driver}"));
    }
    let shown = line(&command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown}: {}", output.status);
    }
    let mut executable = None;
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.context("cargo's messages")?
            && artifact.target.name == program
        {
            executable = artifact.executable.or(executable);
        }
    }
    let executable = executable.with_context(|| format!("{shown}: made no executable"))?;
    Ok(executable.into_std_path_buf())
}
