//! Where things are, and what cargo says about them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

/// The kernel's name of the one architecture there is so far.
pub(crate) const ARCH: &str = "x86_64";

/// The loader's file name, which is its soname too.
pub(crate) const LOADER: &str = "slulrtld-x86_64.so.1";

/// cargo's name of the platform the loader and these tools are built for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The checkout.
pub(crate) struct Repo {
    metadata: Metadata,
}

impl Repo {
    /// Finds the checkout this tool was built from.
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(&manifest)
            // What other platforms depend on is not downloaded.
            .other_options(["--filter-platform".to_owned(), PLATFORM.to_owned()])
            .exec()
            .context("cargo metadata")?;
        Ok(Self { metadata })
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
