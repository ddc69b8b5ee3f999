//! The stubs that are linked into programs without PT_INTERP.

use std::path::Path;
use std::process::Command;

use abi::arch::Arch;
use abi::stub::defines;
use anyhow::Result;

use crate::repo::Repo;
use crate::run::run;

/// How a stub starts the loader.
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

    /// Where the object is installed.
    pub(crate) fn object(self, arch: &Arch) -> &'static str {
        match self {
            Self::Execute => arch.paths.rt0,
            Self::Map => arch.paths.rt0_map,
            Self::Embed => arch.paths.rt0_embed,
        }
    }
}

/// Assembles a stub, which looks for the loader at `path`. `loader` is the built one, as it is to be installed.
pub(crate) fn build(repo: &Repo, kind: Kind, path: &Path, loader: &Path, to: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.arg("-c").args(defines(repo.arch()).map(|(name, value)| format!("-D{name}={value}")));
    gcc.arg(format!("-DSLUL_LOADER=\"{}\"", path.display()));
    let source = match kind {
        Kind::Execute => "rt0",
        Kind::Map | Kind::Embed => "map",
    };
    if kind == Kind::Embed {
        gcc.arg(format!("-DSLUL_EMBED=\"{}\"", loader.display()));
    }
    run(gcc.arg("-o").arg(to).arg(repo.root().join(format!("rt0/asm/{}/{source}.S", repo.arch().name))))
}
