//! Requirements on the built loader and on the template's file. Each check has a test in which it fails.

mod code;
mod counters;
mod elf;
mod exports;
pub(crate) mod image;
mod loading;
pub(crate) mod memory;
mod stub;
mod table;
mod template;
mod using_libc;

use abi::libcs::Libc;
use abi::paths::in_tree;
use anyhow::Result;

use self::image::Image;
use self::table::Table;
use crate::loader::Profile;
use crate::packages;
use crate::repo::Repo;
use crate::stage::{Stage, stage_default};

/// Stages both loaders and checks them.
pub(crate) fn audit(repo: &Repo) -> Result<()> {
    packages::ensure(&[&packages::GCC, &packages::BINUTILS, &packages::VALGRIND], true)?.print();
    let release = stage_default(repo, Profile::Release)?;
    let debug = stage_default(repo, Profile::Debug)?;
    audit_staged(repo, &release, &debug)
}

/// Checks two staged loaders.
pub(crate) fn audit_staged(repo: &Repo, release: &Stage, debug: &Stage) -> Result<()> {
    let counters = counters::check(repo, &release.loader)?;
    let loading = loading::check(repo, release)?;
    let mut table = Table::default();

    let paths = &repo.arch().paths;
    let installed = Image::read(&release.loader)?;
    let mut rows = elf::check(&installed, paths.soname);
    rows.extend([
        elf::layout(&installed),
        elf::segments(&installed),
        elf::size(&installed),
        elf::unwind_tables(&installed),
    ]);
    rows.extend(exports::check(&installed));
    // Only the release build meets these: the debug build calls functions that the release build inlines.
    let unstripped = Image::read(&release.unstripped)?;
    rows.extend(code::check(&unstripped));
    rows.extend([memory::check(&unstripped), memory::formatting(&unstripped)]);
    rows.extend(counters);
    rows.extend(loading);
    rows.extend(stub::check(&release.root.join(in_tree(paths.rt0)))?);
    table.print("audit of the release loader", &rows);

    let with_symbols = Image::read(&debug.loader)?;
    let mut rows = elf::check(&with_symbols, paths.soname);
    rows.push(elf::layout(&with_symbols));
    rows.extend(exports::check(&with_symbols));
    table.print("audit of the debug loader", &rows);

    let using_libc = Image::read(&release.root.join(in_tree(paths.using_libc(Libc::Gnu))))?;
    table.print("audit of slulrtld-using-libc for glibc", &using_libc::check(&using_libc));

    table.print("audit of the template's file", &template::check(repo, &release.template)?);
    table.finish()
}
