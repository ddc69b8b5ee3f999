//! Crates that load libraries, as peers: each has a program in `bench/`, which loads a library that needs all others.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::super::workshop::{Workshop, text};
use crate::run::run;

/// A crate.
struct Crate {
    /// Of `bench/`.
    directory: &'static str,
    name: &'static str,
    program: &'static str,
    /// The most libraries that it can load.
    most: u64,
}

/// In the order of their columns.
const CRATES: [Crate; 2] = [
    Crate { directory: "elf_loader", name: "elf_loader", program: "elf-loader-peer", most: u64::MAX },
    // It keeps the state of a library, or its number, in a byte.
    Crate { directory: "dlopen_rs", name: "dlopen-rs", program: "dlopen-rs-peer", most: 250 },
];

/// A program of `bench/` that loads by a crate.
pub(crate) struct Peer {
    /// The crate's.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    /// The most libraries that it can load.
    pub(crate) most: u64,
}

/// Builds the programs, unless they have been built.
pub(crate) fn crates(workshop: &Workshop<'_>) -> Result<Vec<Peer>> {
    let build = |&Crate { directory, name, program, most }: &Crate| {
        Ok(Peer { name, program: workshop.build_crate(directory)?.join(program), most })
    };
    CRATES.iter().map(build).collect()
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
