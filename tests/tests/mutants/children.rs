//! Children that may crash, which are this program again, and the files that they run.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs this program again, in the root directory, and returns its output. It must succeed.
pub(crate) fn child(words: &[&str]) -> Result<String> {
    let itself = env::current_exe().context("this program's own path")?;
    let output = Command::new(itself).args(words).current_dir("/").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {}\n{said}{complaints}", output.status);
    Ok(said)
}

/// Writes a file with mode 755. It is a new file each time: the old one may still be mapped.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    if path.exists() {
        fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(bytes)?;
    // Whatever the umask.
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    Ok(())
}
