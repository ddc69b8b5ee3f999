//! Builds the loader, and the host tools that are installed with it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use abi::libcs::Libc;
use anyhow::{Context, Result, bail};
use cargo_metadata::Message;
use clap::ValueEnum;

use crate::repo::Repo;
use crate::run::{cargo, line, step};

/// A build of the loader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// The installed loader.
    Release,
    /// For tests: checks overflow, and has many relocations, so that it crashes without self-relocation.
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

/// Options that a profile of cargo can not have. By frame pointers debuggers find their way without unwind tables. A function
/// with several callers is to be in the file once: where that costs time, `#[inline]` is in the source.
const SMALL: [&str; 2] =
    ["-Cforce-frame-pointers=yes", "-Cllvm-args=-inline-threshold=7 -inlinehint-threshold=60"];

/// Builds the loader in that profile; returns the linked executable, with its symbols.
pub(crate) fn build(repo: &Repo, profile: Profile) -> Result<PathBuf> {
    step(format!("build the loader, {}", profile.name()));
    let options: &[&str] = if profile == Profile::Release { &SMALL } else { &[] };
    build_program(repo, profile, ("rtld", "slulrtld"), &[], options)
}

/// Builds a program of a package in that profile.
pub(crate) fn executable(repo: &Repo, profile: Profile, package: &str, name: &str) -> Result<PathBuf> {
    build_program(repo, profile, (package, name), &[], &[])
}

/// Builds `slulrtld-using-libc`; musl's is linked by `musl-gcc`, in a directory of its own.
pub(crate) fn build_using_libc(repo: &Repo, profile: Profile, libc: Libc) -> Result<PathBuf> {
    step(format!("build slulrtld-using-libc, {}, {}", libc.name(), profile.name()));
    let program = ("using-libc", "slulrtld-using-libc");
    match libc {
        // glibc before 2.34 has dlopen(3) in a library of its own.
        Libc::Gnu => {
            let options =
                ["--cfg=versioned", "-Clink-arg=-Wl,--push-state,--no-as-needed,-l:libdl.so.2,--pop-state"];
            build_program(repo, profile, program, &[], &options)
        }
        Libc::Musl => {
            let target = repo.target().join("musl-gcc");
            let cargo_options = [OsStr::new("--target-dir"), target.as_os_str()];
            build_program(repo, profile, program, &cargo_options, &["-Clinker=musl-gcc"])
        }
    }
}

/// Builds a program of a package, with options of cargo's and of the compiler's.
fn build_program(
    repo: &Repo,
    profile: Profile,
    (package, program): (&str, &str),
    options: &[&OsStr],
    of_rustc: &[&str],
) -> Result<PathBuf> {
    let mut command = cargo(repo.root());
    // `rustc`, not `build`: the compiler's options are for the program, not for build scripts.
    command.args(["rustc", "--package", package, "--bin", program]);
    // cargo prints the executable's path, so that configurations of its directories do not matter.
    command.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.args(options).arg("--").args(of_rustc);
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
