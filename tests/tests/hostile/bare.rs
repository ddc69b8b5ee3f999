//! A root directory with loader, program and library, and nothing else: no /proc, no /dev, no /etc. And files on a
//! mount that forbids to execute.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tests::damage::install;
use tests::stage::LOADER;
use tests::workdir::Workdir;

use tests::start::Start;
use tests::verdict::{judge, refused, runs};
use tests::world::Case;

/// A copy of a file at the same path below `root`.
fn put(root: &Path, path: &Path) -> Result<()> {
    let place = root.join(path.strip_prefix("/")?);
    fs::create_dir_all(place.parent().context("a file in no directory")?)?;
    install(&fs::canonicalize(path)?, &place)
}

/// A root directory with nothing but a program's work directory, at its own path.
fn tree(case: Case<'_>, program: &str) -> Result<Workdir> {
    let (workdir, build) = (Workdir::new()?, case.world.program(program)?);
    for entry in fs::read_dir(build.dir())? {
        put(workdir.path(), &entry?.path())?;
    }
    workdir.open_to_all()?;
    Ok(workdir)
}

/// [`tree`] with the system's `ld.so`, libc and zlib.
pub(crate) fn tree_with_libc(case: Case<'_>, program: &str) -> Result<Workdir> {
    let tree = tree(case, program)?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let libc =
        maps.lines().find_map(|line| line.split_whitespace().nth(5).filter(|path| path.ends_with("/libc.so.6")));
    let libc = Path::new(libc.context("these tests do not run on glibc")?);
    for path in [Path::new(abi::libcs::Libc::Gnu.interpreter()), libc, &libc.with_file_name("libz.so.1")] {
        put(tree.path(), path)?;
    }
    tree.open_to_all()?;
    Ok(tree)
}

/// Programs without native needs run there.
pub(crate) fn programs(case: Case<'_>) -> Result<()> {
    for (name, output) in [("report/plain", ""), ("report/full", ""), ("whole/sound", "library\nprogram\n")] {
        let tree = tree(case, name)?;
        let start = case.start(name)?.arg("nothing").chroot(tree.path());
        runs(&start.run()?, output).context(name)?;
    }
    Ok(())
}

/// So does one that the loader is given as an argument; `$ORIGIN` is then taken from that path.
pub(crate) fn direct(case: Case<'_>) -> Result<()> {
    let (tree, build) = (tree(case, "whole/sound")?, case.world.program("whole/sound")?);
    let start = Start::new(&build.dir().join(LOADER), case.user).arg(build.path().to_string_lossy());
    runs(&start.chroot(tree.path()).run()?, "library\nprogram\n")
}

/// A missing library is refused in one line.
pub(crate) fn missing_library(case: Case<'_>) -> Result<()> {
    let (tree, build) = (tree(case, "whole/sound")?, case.world.program("whole/sound")?);
    fs::remove_file(tree.path().join(build.dir().join("libone.so").strip_prefix("/")?))?;
    refused(&case.start("whole/sound")?.chroot(tree.path()).run()?, "")
}

/// Without any libc the first native call is refused.
pub(crate) fn no_libc(case: Case<'_>) -> Result<()> {
    let tree = tree(case, "native/gnu")?;
    let outcome = case.start("native/gnu")?.chroot(tree.path()).run()?;
    let line = judge(&outcome, "", &["before\n"])?;
    anyhow::ensure!(line.line().contains("no libc"), "{line:?}");
    Ok(())
}

/// With libc's files, and nothing else, it succeeds.
pub(crate) fn libc_alone(case: Case<'_>) -> Result<()> {
    let tree = tree_with_libc(case, "native/gnu")?;
    runs(&case.start("native/gnu")?.chroot(tree.path()).run()?, "before\nafter\n")
}

/// A library on a mount with `noexec` is refused.
pub(crate) fn noexec_library(case: Case<'_>) -> Result<()> {
    let (_library, program) = case.copy("whole/sound")?;
    let directory = program.with_file_name("noexec");
    fs::create_dir(&directory)?;
    fs::rename(program.with_file_name("libone.so"), directory.join("libone.so"))?;
    let start = Start::new(&program, case.user).env(&format!("LD_LIBRARY_PATH={}", directory.display()));
    runs(&start.run()?, "library\nprogram\n").context("without the mount")?;
    refused(&start.noexec(&directory).run()?, "libone.so: can not be mapped: EPERM")
}

/// A program there is refused by the loader, too, which maps it itself.
pub(crate) fn noexec_program(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("whole/sound")?;
    runs(&case.direct(&program).run()?, "library\nprogram\n").context("without the mount")?;
    refused(&case.direct(&program).noexec(workdir.path()).run()?, "whole: ")
}
