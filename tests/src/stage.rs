//! The loaders under test, in the trees that `cargo xtask stage` makes.

use std::env;
use std::path::{Path, PathBuf};

use abi::arch::NATIVE;
use abi::libcs::Libc;
use abi::paths::{HEADER, INCLUDE, in_tree};
use anyhow::{Context, Result, ensure};

/// File name of the loader.
pub const LOADER: &str = NATIVE.paths.soname;

/// Path of the template's file in a tree.
pub const TEMPLATE: &str = in_tree(NATIVE.paths.template);

/// Paths of `slulrtld-using-libc` for glibc and for musl in a tree.
pub const USING_LIBC: [&str; 2] =
    [in_tree(NATIVE.paths.using_libc(Libc::Gnu)), in_tree(NATIVE.paths.using_libc(Libc::Musl))];

/// A staged tree with a loader of one profile.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The loader's profile: `release` or `debug`.
    pub profile: &'static str,
    /// Root of the tree.
    pub root: PathBuf,
}

impl Stage {
    /// The trees in `SLUL_STAGE_RELEASE` and `SLUL_STAGE_DEBUG`; every fixture runs under each.
    ///
    /// # Errors
    /// A variable is not set, or its tree has no loader, `slul.h`, `libslulrtld.so` or template.
    pub fn all() -> Result<Vec<Self>> {
        [("release", "SLUL_STAGE_RELEASE"), ("debug", "SLUL_STAGE_DEBUG")]
            .into_iter()
            .map(|(profile, variable)| {
                let root = env::var_os(variable)
                    .with_context(|| format!("{variable} is not set; run the tests with: cargo xtask test"))?;
                let stage = Self { profile, root: root.into() };
                for file in [stage.loader(), stage.file(HEADER), stage.stub(), stage.file(TEMPLATE)] {
                    ensure!(
                        file.is_file(),
                        "{variable}: {} is missing; stage it with: cargo xtask test",
                        file.display()
                    );
                }
                Ok(stage)
            })
            .collect()
    }

    /// An installed file, by its absolute path.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(in_tree(path))
    }

    /// The loader.
    #[must_use]
    pub fn loader(&self) -> PathBuf {
        self.file(NATIVE.paths.loader)
    }

    /// The directory of `slul.h`.
    #[must_use]
    pub fn include(&self) -> PathBuf {
        self.file(INCLUDE)
    }

    /// `libslulrtld.so`: programs that call the loader's functions are linked with it.
    #[must_use]
    pub fn stub(&self) -> PathBuf {
        self.file(NATIVE.paths.link_stub)
    }
}

/// The directory of musl libraries, if this machine has one.
#[must_use]
pub fn musl() -> Option<PathBuf> {
    env::var_os(MUSL).map(PathBuf::from).filter(|path| path.join("libz.so.1").is_file())
}

/// Name of the variable that [`musl`] reads.
pub const MUSL: &str = "SLUL_MUSL_LIB";

/// The fixtures' folder.
#[must_use]
pub fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}
