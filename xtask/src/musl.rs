//! A zlib for musl, which no distribution has: built from the sources in the package libz-sys.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::repo::Repo;
use crate::run::{run, step};

/// The directories of the library and its header.
pub(crate) struct Zlib {
    /// The directory of `libz.so.1`.
    pub(crate) lib: PathBuf,
    /// The directory of `zlib.h`.
    pub(crate) include: PathBuf,
}

/// Builds `target/musl/lib/libz.so.1` with `musl-gcc`, unless it is there and was built from the same version.
pub(crate) fn zlib(repo: &Repo) -> Result<Zlib> {
    let (package, directory) = repo.dependency("libz-sys")?;
    let include = directory.join("src/zlib");
    let lib = repo.target().join("musl/lib");
    fs::create_dir_all(&lib).with_context(|| format!("create {}", lib.display()))?;

    let library = lib.join("libz.so.1");
    let made_of = lib.join("libz.so.1.made-of");
    let before = fs::read_to_string(&made_of).unwrap_or_default();
    if library.exists() && before == package {
        step(format!("zlib for musl: {} is there", library.display()));
    } else {
        step(format!("build zlib for musl, of {package}"));
        compile(&include, &library)?;
        fs::write(&made_of, package).with_context(|| format!("write {}", made_of.display()))?;
    }
    Ok(Zlib { lib, include })
}

fn compile(sources: &Path, library: &Path) -> Result<()> {
    let temporary = library.with_extension("new");
    run(Command::new("musl-gcc")
        .args(["-shared", "-fPIC", "-O2", "-DHAVE_UNISTD_H", "-w"])
        .args(["-Wl,-soname,libz.so.1", "-o"])
        .arg(&temporary)
        .args(c_files(sources)?))?;
    fs::rename(&temporary, library).with_context(|| format!("rename to {}", library.display()))
}

fn c_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| directory.display().to_string())?.path();
        if path.extension() == Some(OsStr::new("c")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
