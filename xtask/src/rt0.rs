//! The stubs that are linked into programs without PT_INTERP.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rt0::stub::DEFINES;

use crate::repo::{ARCH, LOADER, Repo};
use crate::run::run;

/// How a stub brings the loader in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `rt0.o`: executes it.
    Execute,
    /// `rt0-map.o`: maps it.
    Map,
    /// `rt0-embed.o`: carries it.
    Embed,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Execute, Self::Map, Self::Embed];

    /// File name of the object.
    pub(crate) fn object(self) -> &'static str {
        match self {
            Self::Execute => "rt0.o",
            Self::Map => "rt0-map.o",
            Self::Embed => "rt0-embed.o",
        }
    }
}

/// Where stubs look for the loader.
pub(crate) fn installed() -> PathBuf {
    Path::new("/lib").join(LOADER)
}

/// Assembles a stub, which looks for the loader at `path`. `loader` is the built one, as it is to be installed.
pub(crate) fn build(repo: &Repo, kind: Kind, path: &Path, loader: &Path, to: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.arg("-c").args(DEFINES.map(|(name, value)| format!("-D{name}={value}")));
    gcc.arg(format!("-DSLUL_LOADER=\"{}\"", path.display()));
    let source = match kind {
        Kind::Execute => "rt0",
        Kind::Map | Kind::Embed => "map",
    };
    if kind == Kind::Embed {
        gcc.arg(format!("-DSLUL_EMBED=\"{}\"", loader.display()));
    }
    run(gcc.arg("-o").arg(to).arg(repo.root().join(format!("rt0/asm/{ARCH}-{source}.S"))))
}
