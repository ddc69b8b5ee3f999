//! Lays out the installed files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::arch::Arch;
use abi::libcs::Libc;
use abi::paths::{self, in_tree};
use anyhow::{Context, Result};
use binfmt::{Credentials, Entry};

use crate::link_stub;
use crate::loader::{self, Profile};
use crate::packages;
use crate::repo::Repo;
use crate::rt0;
use crate::run::{run, step};
use crate::template;

/// A staged tree.
pub(crate) struct Stage {
    /// The directory that stands for `/`, absolute.
    pub(crate) root: PathBuf,
    /// The installed loader below it.
    pub(crate) loader: PathBuf,
    /// The linked loader, with its symbols.
    pub(crate) unstripped: PathBuf,
    /// The template's file.
    pub(crate) template: PathBuf,
}

/// The default directory of a profile.
pub(crate) fn default_dir(repo: &Repo, profile: Profile) -> PathBuf {
    repo.target().join(match profile {
        Profile::Release => "stage",
        Profile::Debug => "stage-debug",
    })
}

/// Stages a profile in its default directory.
pub(crate) fn stage_default(repo: &Repo, profile: Profile) -> Result<Stage> {
    stage(repo, profile, &default_dir(repo, profile))
}

/// Builds the loader and writes every installed file under `destdir`. Each file appears at once, complete.
pub(crate) fn stage(repo: &Repo, profile: Profile, destdir: &Path) -> Result<Stage> {
    let unstripped = loader::build(repo, profile)?;
    fs::create_dir_all(destdir).with_context(|| format!("create {}", destdir.display()))?;
    let root = fs::canonicalize(destdir).with_context(|| destdir.display().to_string())?;
    step(format!("stage {} in {}", profile.name(), root.display()));

    let tree = Tree { root: &root };
    let arch = repo.arch();
    let of_arch = &arch.paths;
    let loader = tree.file(of_arch.loader, 0o755, |temporary| copy_loader(&unstripped, temporary, profile))?;
    for name in [paths::RUNSLUL, paths::BINFMT_HANDLER] {
        tree.link(name, &from_directory_of(name, of_arch.loader))?;
    }
    for (package, path) in [("binfmt", paths::RUNSLUL_BINFMT), ("slulbin", paths::SLULBIN)] {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        let tool = loader::executable(repo, profile, package, &name)?;
        tree.file(path, 0o755, |temporary| copy(&tool, temporary))?;
    }
    tree.text(paths::BINFMT_SYSTEMD, &binfmt::systemd())?;
    for entry in [Entry::Magic(Credentials::OfCaller), Entry::Extension] {
        tree.text(&format!("{}/{}", paths::BINFMT_DEBIAN, entry.name()), &entry.debian())?;
    }
    tree.file(of_arch.link_stub, 0o644, |temporary| link_stub::build(repo, &unstripped, temporary))?;
    let template = tree.file(of_arch.template, 0o755, |temporary| template::build(repo, temporary))?;
    for kind in rt0::Kind::ALL {
        let installed = Path::new(of_arch.loader);
        let object = kind.object(arch);
        tree.file(object, 0o644, |temporary| rt0::build(repo, kind, installed, &loader, temporary))?;
    }
    using_libc(repo, profile, &tree)?;
    let header = repo.root().join("abi/include/slul.h");
    tree.file(paths::HEADER, 0o644, |temporary| copy(&header, temporary))?;
    tree.text(of_arch.pkgconfig, &pkgconfig_text(arch, repo.version()))?;
    Ok(Stage { root, loader, unstripped, template })
}

/// `slulrtld-using-libc` for each libc that this machine can link for, and a link without a libc in its name to the
/// default one.
fn using_libc(repo: &Repo, profile: Profile, tree: &Tree<'_>) -> Result<()> {
    for libc in Libc::ALL {
        if libc == Libc::Musl && !packages::MUSL.present() {
            step("no slulrtld-using-libc for musl: there is no musl-gcc to link it");
            continue;
        }
        let program = loader::build_using_libc(repo, profile, libc)?;
        tree.file(repo.arch().paths.using_libc(libc), 0o755, |temporary| {
            copy_loader(&program, temporary, profile)
        })?;
    }
    let [first, ..] = Libc::ALL;
    let preferred = repo.arch().paths.using_libc(first);
    tree.link(paths::USING_LIBC, &from_directory_of(paths::USING_LIBC, preferred)).map(drop)
}

/// The relative target of a symbolic link at `link` that leads to `file` in any tree.
fn from_directory_of(link: &str, file: &str) -> String {
    let directory: Vec<&str> = link.split('/').rev().skip(1).collect();
    let file: Vec<&str> = file.split('/').collect();
    let common = directory.iter().rev().zip(&file).take_while(|(one, other)| one == other).count();
    let up = (common..directory.len()).map(|_| "..");
    up.chain(file.into_iter().skip(common)).collect::<Vec<_>>().join("/")
}

/// Copies the loader, without symbols in the release profile; the debug loader keeps them for debuggers.
fn copy_loader(from: &Path, to: &Path, profile: Profile) -> Result<()> {
    match profile {
        Profile::Debug => copy(from, to),
        Profile::Release => run(Command::new("strip").args(["--strip-unneeded", "-o"]).args([to, from])),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// The pkg-config file. Its prefix is relative to the file, so that a staged tree can be used where it is.
fn pkgconfig_text(arch: &Arch, version: &str) -> String {
    let of_arch = &arch.paths;
    let [libdir, includedir] = [of_arch.library_dir, paths::INCLUDE].map(|path| path.trim_start_matches("/usr"));
    format!(
        "prefix=${{pcfiledir}}/../../../..
libdir=${{prefix}}{libdir}
includedir=${{prefix}}{includedir}
interpreter={}

Name: slul
Description: Run-time loader for programs that carry no libc
Version: {version}
Cflags: -I${{includedir}}
Libs: -L${{libdir}} -lslulrtld
",
        of_arch.loader
    )
}

/// A directory that stands for `/`.
struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    fn file(&self, path: &str, mode: u32, write: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        self.put(path, |temporary| {
            write(temporary)?;
            fs::set_permissions(temporary, fs::Permissions::from_mode(mode))
                .with_context(|| format!("chmod {}", temporary.display()))
        })
    }

    fn text(&self, path: &str, text: &str) -> Result<PathBuf> {
        self.file(path, 0o644, |temporary| fs::write(temporary, text).with_context(|| format!("write {path}")))
    }

    fn link(&self, path: &str, to: &str) -> Result<PathBuf> {
        self.put(path, |temporary| {
            symlink(to, temporary).with_context(|| format!("symlink {}", temporary.display()))
        })
    }

    /// Makes the file under another name and renames it into place.
    fn put(&self, path: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let place = self.root.join(in_tree(path));
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        }
        let mut temporary = place.clone().into_os_string();
        temporary.push(format!(".new-{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        if temporary.symlink_metadata().is_ok() {
            fs::remove_file(&temporary).with_context(|| format!("remove {}", temporary.display()))?;
        }
        make(&temporary)?;
        fs::rename(&temporary, &place).with_context(|| format!("rename to {}", place.display()))?;
        println!("    {path}");
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::from_directory_of;

    #[test]
    fn links_lead_to_their_files_in_any_tree() {
        for (link, file, text) in [
            ("/usr/bin/a", "/lib/b", "../../lib/b"),
            ("/usr/libexec/slul/a", "/lib/b", "../../../lib/b"),
            ("/usr/bin/a", "/usr/bin/b", "b"),
            ("/usr/bin/a", "/usr/lib/slul/b", "../lib/slul/b"),
        ] {
            assert_eq!(from_directory_of(link, file), text);
        }
    }
}
