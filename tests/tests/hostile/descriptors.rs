//! Standard input, output and error closed in every combination.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::workdir::Workdir;

use tests::start::Start;
use tests::verdict::{Complaints, REFUSED};
use tests::world::Case;

/// All combinations of the first three descriptors: bit n is set if descriptor n is open.
fn combinations(start: &Start) -> impl Iterator<Item = (u8, Start)> {
    let start = start.clone();
    (0..8u8).map(move |open| {
        let closed = (0..3).filter(|fd| open & (1 << fd) == 0);
        (open, closed.fold(start.clone(), Start::close))
    })
}

/// A program has the descriptors that it was started with, and no others.
pub(crate) fn none_leaks(case: Case<'_>) -> Result<()> {
    each_report(case, &[], |_| true)
}

/// With a trace, too, which goes to standard error.
pub(crate) fn none_leaks_with_trace(case: Case<'_>) -> Result<()> {
    let is_trace = |outcome: &Outcome| outcome.stderr.lines().all(|line| line.starts_with("slulrtld: "));
    each_report(case, &["LD_SLUL_DEBUG=all"], is_trace)
}

/// With a trace to a file, too.
pub(crate) fn none_leaks_with_trace_file(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    fs::set_permissions(workdir.path(), fs::Permissions::from_mode(0o777))?;
    let output = format!("LD_SLUL_DEBUG_OUTPUT={}/trace", workdir.path().display());
    each_report(case, &["LD_SLUL_DEBUG=all", &output], |outcome| outcome.stderr.is_empty())?;
    ensure!(fs::read_dir(workdir.path())?.count() >= 16, "a trace for each full start");
    Ok(())
}

fn each_report(case: Case<'_>, env: &[&str], good_stderr: impl Fn(&Outcome) -> bool) -> Result<()> {
    let mut complaints = Complaints::default();
    for name in ["report/plain", "report/full", "report/native"] {
        let start = env.iter().fold(case.start(name)?, |start, string| start.env(string));
        for (open, start) in combinations(&start.arg("descriptors")) {
            let outcome = start.arg(open.to_string()).run()?;
            let heard = open & 4 == 0 || env.is_empty() || !outcome.stderr.is_empty() || env.len() > 1;
            if outcome.ending != Ending::Exit(SUCCESS)
                || !outcome.stdout.is_empty()
                || !good_stderr(&outcome)
                || !heard
                || (env.is_empty() && !outcome.stderr.is_empty())
            {
                complaints.push(format!("{name}, open {open:03b}: {outcome:?}"));
            }
        }
    }
    complaints.verdict()
}

/// A refusal writes its line to standard error, and nowhere else.
pub(crate) fn refusal(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("whole/sound")?;
    fs::remove_file(workdir.path().join("libone.so"))?;
    fs::write(workdir.path().join("libone.so"), "not a library")?;
    let mut complaints = Complaints::default();
    for (open, start) in combinations(&Start::new(&program, case.user)) {
        let outcome = start.run()?;
        let lines = usize::from(open & 4 != 0);
        let said = outcome.stderr.lines().filter(|line| line.starts_with("slulrtld: ")).count() == lines;
        if outcome.ending != Ending::Exit(REFUSED) || !outcome.stdout.is_empty() || !said {
            complaints.push(format!("open {open:03b}: {outcome:?}"));
        }
    }
    complaints.verdict()
}

/// A file that the program opens as descriptor 2 is not standard error: the loader writes nothing to it.
pub(crate) fn file_as_standard_error(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    fs::set_permissions(workdir.path(), fs::Permissions::from_mode(0o777))?;
    let file = workdir.path().join("file");
    let start = case.start("report/native")?.env("LD_SLUL_DEBUG=all");
    let start = start.arg("file").arg(file.to_string_lossy()).close(2);
    let outcome = start.run()?;
    ensure!(outcome.ending == Ending::Exit(SUCCESS), "{outcome:?}");
    let written = fs::read_to_string(&file)?;
    ensure!(written.is_empty(), "trace lines in the program's own file:\n{written}");
    Ok(())
}
