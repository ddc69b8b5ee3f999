//! The checkout: paths, and cargo's metadata.

use std::path::{Path, PathBuf};

use abi::arch::Arch;
use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

/// The checkout, and what is to be made of it.
pub(crate) struct Repo {
    metadata: Metadata,
    arch: &'static Arch,
}

impl Repo {
    /// Finds the checkout this tool was built from; what is made of it is for that machine.
    ///
    /// # Errors
    /// cargo, which knows the packages, fails.
    pub(crate) fn find(arch: &'static Arch) -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(&manifest)
            // What other platforms depend on is not downloaded.
            .other_options(["--filter-platform".to_owned(), arch.rust_target.to_owned()])
            .exec()
            .context("cargo metadata")?;
        Ok(Self { metadata, arch })
    }

    /// The machine that everything is made for.
    pub(crate) fn arch(&self) -> &'static Arch {
        self.arch
    }

    /// The root of the checkout.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// cargo's target directory, where everything that is made goes.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// The version that all packages of the repository share.
    pub(crate) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Name with version, and source directory, of a package that the workspace depends on.
    pub(crate) fn dependency(&self, name: &str) -> Result<(String, PathBuf)> {
        let package = self.metadata.packages.iter().find(|p| p.name == name);
        let package = package.with_context(|| format!("cargo metadata lists no package {name}"))?;
        let directory = package.manifest_path.parent();
        let directory = directory.with_context(|| format!("{name}: no source directory"))?;
        Ok((format!("{name}-{}", package.version), directory.as_std_path().to_owned()))
    }

    /// An empty directory of that name under the target directory.
    pub(crate) fn fresh_dir(&self, name: &str) -> Result<PathBuf> {
        let directory = self.target().join(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
        }
        std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        Ok(directory)
    }
}
