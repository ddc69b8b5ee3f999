//! The host tools.

use std::fs;
use std::process::Command;

use abi::line;
use abi::paths::{RUNSLUL_BINFMT, SLULBIN};
use anyhow::{Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::stage::Stage;

use crate::alone;
use tests::linked::{Link, Programs};
use tests::root::{Holds, Namespaces, Root};

type Check = fn(&Programs, &Stage) -> Result<()>;

/// All checks, and whether binfmt_misc has to be there.
pub(crate) const CHECKS: [(&str, Check, bool); 6] = [
    ("registration", registration, true),
    ("refusals", refusals, false),
    ("damaged", damaged, false),
    ("offset", offset, false),
    ("self-contained", alone::self_contained, false),
    ("packed", alone::packed, false),
];

/// `runslul-binfmt` registers both entries, replaces them, and removes them.
fn registration(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds { binfmt: true, ..Holds::ALL })?;
    install(&programs.launcher(), &root.work("launch"))?;
    let after = |commands: &[&str]| {
        let words = ["--", RUNSLUL_BINFMT, "runslul-binfmt", "--binfmt-misc", "/binfmt", "status"];
        root.launch_as(Namespaces::OneId, commands, &words)
    };
    let there = |outcome: &Outcome, flags: &str| {
        let both = outcome.stdout.contains("slul: enabled") && outcome.stdout.contains("slulb: enabled");
        outcome.ending == Ending::Exit(0) && both && outcome.stdout.contains(flags)
    };
    let outcome = after(&["register"])?;
    ensure!(there(&outcome, "flags: POF\n"), "{}", outcome.shown("registered"));
    let outcome = after(&["register", "register --credentials"])?;
    ensure!(there(&outcome, "flags: POCF\n"), "{}", outcome.shown("registered twice"));
    let outcome = after(&["register", "unregister", "unregister"])?;
    let gone = outcome.ending == Ending::Exit(1) && outcome.stdout.matches("not registered").count() == 2;
    ensure!(gone, "{}", outcome.shown("unregistered"));
    Ok(())
}

/// `slulbin` refuses a file that is no program for this machine, and does not change it.
fn refusals(_: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds { installed: false, libraries: false, proc: false, binfmt: false })?;
    let (text, output) = (root.work("text"), root.work("output"));
    fs::write(&text, "no program")?;
    for subcommand in ["mark", "shebang"] {
        let slulbin = stage.file(SLULBIN);
        let said = Command::new(slulbin).arg(subcommand).arg(&text).arg("-o").arg(&output).output()?;
        let line = String::from_utf8_lossy(&said.stderr).into_owned();
        let refused = !said.status.success() && line.starts_with("slulbin: ") && line.lines().count() == 1;
        ensure!(refused && !output.exists(), "{subcommand}: {line}");
    }
    ensure!(fs::read(&text)? == b"no program", "the file was changed");
    Ok(())
}

/// A `#!` program that was cut off is refused.
fn damaged(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds::ALL)?;
    install(&programs.launcher(), &root.work("launch"))?;
    programs.report(Link::Bare, false, &[], &root.work("linked"))?;
    let report = root.work("report");
    let mut slulbin = Command::new(stage.file(SLULBIN));
    run(slulbin.arg("shebang").arg(root.work("linked")).arg("-o").arg(&report))?;
    let whole = fs::read(&report)?;
    let image = usize::try_from(line::IMAGE)?;
    for (size, line) in [
        (20, NO_ELF),
        (4096, NO_ELF),
        (image, NO_ELF),
        (
            image + 24,
            "slulrtld: /work/report: file of 24 bytes ends before offset 0x40, which its headers promise\n",
        ),
    ] {
        refused_in_one_line(&root, &whole[..size], line)?;
    }
    Ok(())
}

/// The image begins at the offset that all machines can map, and is refused at others.
fn offset(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds::ALL)?;
    install(&programs.launcher(), &root.work("launch"))?;
    programs.report(Link::Bare, false, &[], &root.work("linked"))?;
    let program = fs::read(root.work("linked"))?;
    let mut slulbin = Command::new(stage.file(SLULBIN));
    run(slulbin.arg("shebang").arg(root.work("linked")).arg("-o").arg(root.work("report")))?;
    let made = fs::read(root.work("report"))?;
    let (before, image) = made.split_at(0x10000);
    ensure!(image == program, "the image is not the program");
    ensure!(before.starts_with(b"#!/usr/bin/runslul\n"), "not the line");
    let outcome = root.launch(&["--", "/work/report", "report"])?;
    ensure!(outcome.ending == Ending::Exit(SUCCESS), "{}", outcome.shown("64 KiB"));
    // At the next page of 4 KiB, short, and reaching behind 64 KiB.
    for longer in [0, 0x20000] {
        let mut bytes = b"#!/usr/bin/runslul\n".to_vec();
        bytes.resize(4096, 0);
        bytes.extend(&program);
        bytes.resize(bytes.len() + longer, 0);
        refused_in_one_line(&root, &bytes, NO_ELF)?;
    }
    Ok(())
}

const NO_ELF: &str = "slulrtld: /work/report: not an ELF file\n";

/// Runs a file that must be refused in this line.
fn refused_in_one_line(root: &Root, bytes: &[u8], line: &str) -> Result<()> {
    fs::write(root.work("report"), bytes)?;
    let outcome = root.launch(&["--", "/work/report", "report"])?;
    let refused = outcome.ending == Ending::Exit(127) && outcome.stderr == line;
    ensure!(refused, "{}", outcome.shown(&format!("{} bytes", bytes.len())));
    Ok(())
}
