//! Samples of perf, taken by a clock: its unwinder goes through the program, its library and libc.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use tests::build::Build;
use tests::recipe::Recipe;
use tests::stage::Stage;
use tests::workdir::Workdir;

use crate::backtrace::FUNCTIONS;

/// A recording of the stacks of a program.
fn record(directory: &Workdir) -> Command {
    let mut perf = Command::new("perf");
    // User mode only: samples of the kernel need a privilege.
    perf.args(["record", "-e", "cpu-clock:u", "-F", "200", "--call-graph", "dwarf,16384", "-o"]);
    perf.arg(directory.path().join("perf.data"));
    perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    perf
}

/// The reason for which perf takes no samples, if there is one.
pub(crate) fn lacks() -> Option<&'static str> {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let works = *ANSWER.get_or_init(|| {
        let directory = Workdir::new();
        directory.is_ok_and(|it| record(&it).arg("true").status().is_ok_and(|status| status.success()))
    });
    (!works).then_some("there is no perf, or it may take no samples")
}

/// Runs the program under perf, and checks the samples of its innermost function.
pub(crate) fn run(recipe: &Recipe, stage: &Stage) -> Result<()> {
    let (build, directory) = (Build::new(recipe, stage)?, Workdir::new()?);
    record(&directory).arg(build.path()).arg("long").status().context("perf record")?;
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "-F", "ip,sym", "-i"]).arg(directory.path().join("perf.data"));
    let output = script.stdin(Stdio::null()).output().context("perf script")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut inner = printed.split("\n\n").filter(|sample| sample.contains(FUNCTIONS[0])).peekable();
    ensure!(inner.peek().is_some(), "no samples of {}: {printed}", FUNCTIONS[0]);
    let complete = |sample: &&str| {
        let names = sample.lines().filter_map(|line| line.split_whitespace().nth(1));
        names.filter(|name| FUNCTIONS.contains(name)).eq(FUNCTIONS)
    };
    match inner.find(|sample| !complete(sample)) {
        Some(sample) => bail!("a sample is not complete:\n{sample}"),
        None => Ok(()),
    }
}
