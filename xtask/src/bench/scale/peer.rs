//! The crate elf_loader as a peer: a program of `bench/elf_loader`, and a library that needs all others.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::super::workshop::{Workshop, text};
use crate::run::{cargo, run, step};

/// Builds the program, unless it has been built.
pub(crate) fn elf_loader(workshop: &Workshop<'_>) -> Result<PathBuf> {
    step("build elf_loader's program");
    let target = workshop.repo.target().join("bench/elf_loader");
    run(cargo(&workshop.source("elf_loader"))
        .args(["build", "--quiet", "--release", "--locked", "--target-dir"])
        .arg(&target))?;
    Ok(target.join("release/elf-loader-peer"))
}

/// A library whose only content is that it needs these.
pub(crate) fn needer(workshop: &Workshop<'_>, libraries: &[PathBuf]) -> Result<PathBuf> {
    let made = workshop.path(&format!("needer-{}.so", libraries.len()));
    let directory = libraries.first().and_then(|library| library.parent());
    run(Command::new("ld")
        .args(["-shared", "--no-as-needed", "-rpath", text(directory.unwrap_or(Path::new("/")))?, "-o"])
        .arg(&made)
        .args(libraries))?;
    Ok(made)
}
