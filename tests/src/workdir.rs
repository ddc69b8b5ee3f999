//! A directory of one build.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, io};

use anyhow::{Context, Result};

/// A directory that any user can read, removed when dropped. With `SLUL_KEEP` set it stays, for a look at it.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
}

impl Workdir {
    /// Makes one in the system's directory for temporary files.
    ///
    /// # Errors
    /// The directory can not be made.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("slulrtld-tests-{}-{number}", process::id()));
        DirBuilder::new().mode(0o755).create(&path).with_context(|| path.display().to_string())?;
        let workdir = Self { path };
        workdir.open_to_all()?;
        Ok(workdir)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives everything in it mode 755, whatever the umask. Symbolic links are not followed.
    ///
    /// # Errors
    /// A file in it can not be read or changed.
    pub fn open_to_all(&self) -> Result<()> {
        open_to_all(&self.path).with_context(|| self.path.display().to_string())
    }
}

fn open_to_all(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if env::var_os("SLUL_KEEP").is_some() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{}: not removed: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Workdir;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn for_everyone_and_gone_afterwards() {
        let workdir = Workdir::new().unwrap();
        let path = workdir.path().to_owned();
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/file"), "x").unwrap();
        fs::set_permissions(path.join("sub/file"), fs::Permissions::from_mode(0o600)).unwrap();
        workdir.open_to_all().unwrap();
        for name in ["", "sub", "sub/file"] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "{name}");
        }
        drop(workdir);
        assert!(!path.exists());
    }
}
