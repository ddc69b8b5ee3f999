//! libc is installed, and its ld.so is missing or damaged. A request for libc fails with an error, and may be repeated.
//! (Obstacles that the program itself makes are in `worlds/absent.rs`.)

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tests::damage::{Damage, install};
use tests::launch::User;
use tests::start::Start;
use tests::workdir::Workdir;

use crate::bare;
use tests::verdict::{Complaints, Verdict, judge, runs};
use tests::world::Case;

/// Path of ld.so by the psABI.
const LD_SO: &str = abi::libcs::Libc::Gnu.interpreter();

/// Path of a sound copy.
const SOUND: &str = "/sound";

const EACCES: i32 = 13;
const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;

/// Damages of ld.so: name, damage, and the expected error number.
const DAMAGED: [(&str, Damage, i32); 6] = [
    ("/text", Damage::Text, ENOEXEC),
    ("/empty", Damage::Empty, ENOEXEC),
    ("/directory", Damage::Directory, ENOEXEC),
    ("/aarch64", Damage::Machine(183), ENOEXEC),
    ("/class", Damage::Class(1), ENOEXEC),
    ("/cut", Damage::CutSegment, ENOEXEC),
];

/// A tree with a program and all files of libc except the link to ld.so; and targets for that link, each with its
/// error.
fn tree(case: Case<'_>, program: &str) -> Result<(Workdir, Vec<(&'static str, i32)>)> {
    let tree = bare::tree_with_libc(case, program)?;
    let path = |name: &str| tree.path().join(name.trim_start_matches('/'));
    fs::rename(path(LD_SO), path(SOUND))?;
    let mut targets = vec![("/nowhere", ENOENT)];
    for (name, damage, errno) in DAMAGED {
        install(&path(SOUND), &path(name))?;
        damage.apply(&path(name))?;
        targets.push((name, errno));
    }
    tree.open_to_all()?;
    if case.user != User::Root {
        // Root reads such a file, too.
        install(&path(SOUND), &path("/unreadable"))?;
        fs::set_permissions(path("/unreadable"), Permissions::from_mode(0o000))?;
        targets.push(("/unreadable", EACCES));
    }
    let directory = path(LD_SO);
    fs::set_permissions(directory.parent().context("no directory")?, Permissions::from_mode(0o777))?;
    Ok((tree, targets))
}

/// The first native call is refused, in one line.
pub(crate) fn first_call(case: Case<'_>) -> Result<()> {
    let (tree, targets) = tree(case, "native/gnu")?;
    let link = tree.path().join(LD_SO.trim_start_matches('/'));
    let start = case.start("native/gnu")?.chroot(tree.path());
    let mut complaints = Complaints::default();
    for (target, _) in targets {
        lead(&link, target)?;
        for (start, before) in [(start.clone(), "before\n"), (start.clone().env("LD_SLUL_EAGER_LOAD_LIBC=1"), "")]
        {
            let verdict = complaints.note(target, start.run().and_then(|outcome| judge(&outcome, "", &[before])));
            if let Some(Verdict::Ran) = verdict {
                complaints.push(format!("{target}: it ran"));
            }
        }
    }
    complaints.verdict()?;
    lead(&link, SOUND)?;
    runs(&start.run()?, "before\nafter\n")
}

fn lead(link: &Path, target: &str) -> Result<()> {
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link)?;
    }
    Ok(symlink(target, link)?)
}

/// `slul_load_libc` fails as often as it is called, and succeeds once ld.so is there.
pub(crate) fn asked_for(case: Case<'_>) -> Result<()> {
    let (tree, targets) = tree(case, "retry/unnamed")?;
    let start = case.start("retry/unnamed")?.chroot(tree.path()).arg(LD_SO);
    let start = targets.iter().fold(start, |start, (target, errno)| start.arg(*target).arg(errno.to_string()));
    let output = "without\n".repeat(targets.len()) + "with\n";
    ensure!(targets.len() > DAMAGED.len(), "nothing is missing");
    runs(&start.arg(SOUND).run()?, &output)
}

/// musl's ld.so, by its own documentation.
const MUSL: &str = abi::libcs::Libc::Musl.interpreter();

/// The ways in which libc comes, each with what the program has printed before.
fn ways(start: &Start) -> [(Start, &'static str); 3] {
    [
        (start.clone(), "before\n"),
        (start.clone().env("LD_SLUL_DEBUG=0"), "before\n"),
        (start.clone().env("LD_SLUL_EAGER_LOAD_LIBC=1"), ""),
    ]
}

/// `libc.so.6` stands for any libc: on a machine with musl alone a program that names it gets musl.
pub(crate) fn any_libc(case: Case<'_>) -> Result<()> {
    let tree = bare::tree_with_libc(case, "deferred")?;
    let path = |name: &str| tree.path().join(name.trim_start_matches('/'));
    fs::remove_file(path(LD_SO))?;
    let musl = path(MUSL);
    fs::create_dir_all(musl.parent().context("no directory")?)?;
    install(&fs::canonicalize(MUSL)?, &musl)?;
    tree.open_to_all()?;
    let start = case.start("deferred")?.chroot(tree.path()).env("GREETING=hello");
    for (start, _) in ways(&start) {
        runs(&start.run()?, "before\nafter\n")?;
    }
    Ok(())
}

/// musl's own names stand for musl alone: a program that needs one is not run with glibc.
pub(crate) fn musl_alone(case: Case<'_>) -> Result<()> {
    let tree = bare::tree_with_libc(case, "names_musl")?;
    let start = case.start("names_musl")?.chroot(tree.path());
    for (start, before) in ways(&start) {
        match judge(&start.run()?, "", &[before])? {
            Verdict::Refused(line) if line.contains(MUSL) && line.contains("ENOENT") => {}
            other => bail!("{other:?}"),
        }
    }
    Ok(())
}
