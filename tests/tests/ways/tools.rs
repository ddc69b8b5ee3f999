//! The host tools.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::stage::Stage;

use tests::linked::{Link, Programs};
use tests::root::{Holds, Namespaces, Root};

type Check = fn(&Programs, &Stage) -> Result<()>;

/// All checks, and whether binfmt_misc has to be there.
pub(crate) const CHECKS: [(&str, Check, bool); 3] =
    [("registration", registration, true), ("refusals", refusals, false), ("damaged", damaged, false)];

/// What is registered is there, is replaced, and goes.
fn registration(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds { binfmt: true, ..Holds::ALL })?;
    install(&programs.launcher(), &root.work("launch"))?;
    let after = |commands: &[&str]| {
        let words = ["--", "/usr/bin/runslul-binfmt", "runslul-binfmt", "--binfmt-misc", "/binfmt", "status"];
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

/// `slulbin` refuses what is no program for this machine, and leaves it as it is.
fn refusals(_: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds { installed: false, libraries: false, proc: false, binfmt: false })?;
    let (text, output) = (root.work("text"), root.work("output"));
    fs::write(&text, "no program")?;
    for subcommand in ["mark", "shebang"] {
        let slulbin = stage.root.join("usr/bin/slulbin");
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
    let mut slulbin = Command::new(stage.root.join("usr/bin/slulbin"));
    run(slulbin.arg("shebang").arg(root.work("linked")).arg("-o").arg(&report))?;
    let whole = fs::read(&report)?;
    for (size, line) in [
        (20, "slulrtld: /work/report: not an ELF file\n"),
        (4096, "slulrtld: /work/report: not an ELF file\n"),
        (4120, "slulrtld: /work/report: file of 24 bytes ends before offset 0x40, which its headers promise\n"),
    ] {
        fs::write(&report, &whole[..size])?;
        let outcome = root.launch(&["--", "/work/report", "report"])?;
        let refused = outcome.ending == Ending::Exit(127) && outcome.stderr == line;
        ensure!(refused, "{}", outcome.shown(&format!("{size} bytes")));
    }
    Ok(())
}
