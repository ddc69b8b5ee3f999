//! Lays out the installed files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use binfmt::{Credentials, Entry};
use libc_template::Libc;

use crate::link_stub;
use crate::loader::{self, Profile};
use crate::packages;
use crate::repo::{ARCH, LOADER, Repo};
use crate::rt0;
use crate::run::{run, step};
use crate::template;

/// What has been staged.
pub(crate) struct Stage {
    /// The directory that stands for `/`, absolute.
    pub(crate) root: PathBuf,
    /// The loader as installed under it.
    pub(crate) loader: PathBuf,
    /// The loader as linked, with its symbols.
    pub(crate) unstripped: PathBuf,
    /// The template's file.
    pub(crate) template: PathBuf,
}

/// Where a profile goes unless told otherwise.
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
    let library_dir = format!("usr/lib/slul/{ARCH}");
    let loader =
        tree.file(&format!("lib/{LOADER}"), 0o755, |temporary| copy_loader(&unstripped, temporary, profile))?;
    tree.link("usr/bin/runslul", &format!("../../lib/{LOADER}"))?;
    for (package, name) in [("binfmt", "runslul-binfmt"), ("slulbin", "slulbin")] {
        let tool = loader::executable(repo, profile, package, name)?;
        tree.file(&format!("usr/bin/{name}"), 0o755, |temporary| copy(&tool, temporary))?;
    }
    tree.link(binfmt::HANDLER.trim_start_matches('/'), &format!("../../../lib/{LOADER}"))?;
    tree.text("usr/lib/binfmt.d/slul.conf", &binfmt::systemd())?;
    for entry in [Entry::Magic(Credentials::OfCaller), Entry::Extension] {
        tree.text(&format!("usr/share/binfmts/{}", entry.name()), &entry.debian())?;
    }
    let stub = format!("{library_dir}/libslulrtld.so");
    tree.file(&stub, 0o644, |temporary| link_stub::build(repo, &unstripped, temporary))?;
    let template = libc_template::FILE.trim_start_matches('/');
    let template = tree.file(template, 0o755, |temporary| template::build(repo, temporary))?;
    for kind in rt0::Kind::ALL {
        let object = format!("{library_dir}/{}", kind.object());
        tree.file(&object, 0o644, |temporary| rt0::build(repo, kind, &rt0::installed(), &loader, temporary))?;
    }
    using_libc(repo, profile, &tree)?;
    let header = repo.root().join("rt0/include/slul.h");
    tree.file("usr/include/slul.h", 0o644, |temporary| copy(&header, temporary))?;
    let pkgconfig = format!("{library_dir}/pkgconfig/slul.pc");
    tree.text(&pkgconfig, &pkgconfig_text(repo.version()))?;
    Ok(Stage { root, loader, unstripped, template })
}

/// The loader inside a process of libc: for each libc that this machine can link for, and the one that is meant where
/// nothing decides, under a name without libc.
fn using_libc(repo: &Repo, profile: Profile, tree: &Tree<'_>) -> Result<()> {
    for libc in Libc::ALL {
        if libc == Libc::Musl && !packages::MUSL.present() {
            step("no slulrtld-using-libc for musl: there is no musl-gcc to link it");
            continue;
        }
        let program = loader::build_using_libc(repo, profile, libc)?;
        let path = libc.loader_using_it().trim_start_matches('/');
        tree.file(path, 0o755, |temporary| copy_loader(&program, temporary, profile))?;
    }
    let [first, ..] = Libc::ALL;
    let name = Path::new(first.loader_using_it()).file_name().context("a file name")?;
    tree.link(USING_LIBC, &name.to_string_lossy()).map(drop)
}

/// The name without arch and libc.
const USING_LIBC: &str = "usr/libexec/slul/slulrtld-using-libc";

/// The debug loader keeps its symbols, for debuggers.
fn copy_loader(from: &Path, to: &Path, profile: Profile) -> Result<()> {
    match profile {
        Profile::Debug => copy(from, to),
        Profile::Release => run(Command::new("strip").args(["--strip-unneeded", "-o"]).args([to, from])),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// The prefix is taken from where the file is, so that a staged tree can be used as it stands.
fn pkgconfig_text(version: &str) -> String {
    format!(
        "prefix=${{pcfiledir}}/../../../..
libdir=${{prefix}}/lib/slul/{ARCH}
includedir=${{prefix}}/include
interpreter=/lib/{LOADER}

Name: slul
Description: Run-time loader for programs that carry no libc
Version: {version}
Cflags: -I${{includedir}}
Libs: -L${{libdir}} -lslulrtld
"
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
        let place = self.root.join(path);
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
        println!("    /{path}");
        Ok(place)
    }
}
