//! Runs a case under each loader, and compares the outcomes.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use tests::launch::{Ending, Launch, Outcome, TIMEOUT, User};
use tests::recipe::SUCCESS;
use tests::stage::{LOADER, Stage};
use tests::workdir::Workdir;

use crate::case::{Agreement, Case};
use crate::workshop::{Loader, Workshop};

/// Status of slulrtld's refusals.
const REFUSED: i32 = 127;

/// The outcomes of a case.
struct Outcomes {
    /// Under slulrtld, by its profile.
    ours: Vec<(&'static str, Outcome)>,
    /// Under the others.
    others: Vec<(Loader, Outcome)>,
}

/// A case; the first of its tests builds and runs it.
pub(crate) struct Shared {
    case: Case,
    outcomes: OnceLock<Result<Outcomes, String>>,
}

impl Shared {
    pub(crate) fn new(case: Case) -> Self {
        Self { case, outcomes: OnceLock::new() }
    }

    /// Compares slulrtld's outcome with that of `other`, one of `others`, all of which the case is run under.
    pub(crate) fn check(
        &self,
        workshop: &Workshop,
        stages: &[Stage],
        others: &[Loader],
        other: Loader,
    ) -> Result<()> {
        let run = || run(&self.case, workshop, stages, others).map_err(|error| format!("{error:#}"));
        let outcomes = self.outcomes.get_or_init(run).as_ref().map_err(|text| anyhow::Error::msg(text.clone()))?;
        let reference = outcomes.others.iter().find(|(loader, _)| *loader == other);
        let (_, reference) = reference.with_context(|| format!("not run under {}", other.name()))?;
        let exactly = !(other == Loader::Musl && matches!(self.case.agreement, Agreement::GlibcOrder(_)));
        let mut complaints = judge(&self.case, other.name(), reference)?;
        for (profile, ours) in &outcomes.ours {
            let who = format!("slulrtld ({profile})");
            complaints += &judge(&self.case, &who, ours)?;
            if self.case.refused {
                let says_why = ours.stderr.starts_with("slulrtld: ") && ours.ending == Ending::Exit(REFUSED);
                if !says_why {
                    writeln!(complaints, "{who} does not refuse it as it should")?;
                    complaints += &ours.shown(&who);
                }
            } else if !agree(ours, reference, exactly) {
                writeln!(complaints, "{who} and {} do not agree", other.name())?;
                complaints += &ours.shown(&who);
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        bail!("{complaints}{}", reference.shown(other.name()))
    }
}

/// Whether two outcomes are equal: line by line, or, unless `exactly`, up to the order of lines.
fn agree(ours: &Outcome, reference: &Outcome, exactly: bool) -> bool {
    let lines = |outcome: &Outcome| {
        let mut lines: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
        if !exactly {
            lines.sort();
        }
        lines
    };
    ours.ending == reference.ending && lines(ours) == lines(reference)
}

/// Faults of one outcome, without comparison.
fn judge(case: &Case, who: &str, outcome: &Outcome) -> Result<String> {
    let mut complaints = String::new();
    // glibc refuses with status 1 before relocation, and with 127 during it.
    let right = match outcome.ending {
        Ending::Exit(status) if case.refused => status == 1 || status == REFUSED,
        Ending::Exit(status) => status == SUCCESS,
        _ => false,
    };
    if !right {
        writeln!(complaints, "{who}: ended with {:?}", outcome.ending)?;
    }
    if case.refused != outcome.stdout.is_empty() || case.refused == outcome.stderr.is_empty() {
        writeln!(complaints, "{who}: refused and silent, or run and not, were expected the other way round")?;
    }
    if case.says.is_some_and(|says| says != outcome.stdout) {
        writeln!(complaints, "{who}: does not say\n{}", case.says.unwrap_or_default())?;
    }
    let place = |wanted: &String| outcome.stdout.lines().position(|line| line == wanted);
    for (first, second) in &case.before {
        match (place(first), place(second)) {
            (Some(earlier), Some(later)) if earlier < later => {}
            _ => writeln!(complaints, "{who}: `{first}` does not come before `{second}`")?,
        }
    }
    Ok(complaints)
}

fn run(case: &Case, workshop: &Workshop, stages: &[Stage], others: &[Loader]) -> Result<Outcomes> {
    let workdir = Workdir::new()?;
    let dir = workdir.path();
    let mut loaders = vec![Loader::Slulrtld];
    loaders.extend(others);
    workshop.build(case, &loaders, dir)?;
    let mut ours = Vec::new();
    for stage in stages {
        let loader = dir.join(LOADER);
        // PT_INTERP names one path, at which each profile of slulrtld is put in turn.
        if loader.exists() {
            fs::remove_file(&loader)?;
        }
        symlink(stage.loader(), &loader)?;
        ours.push((stage.profile, launch(case, Loader::Slulrtld, dir)?));
    }
    let others: Result<_> = others.iter().map(|&other| Ok((other, launch(case, other, dir)?))).collect();
    Ok(Outcomes { ours, others: others? })
}

fn launch(case: &Case, loader: Loader, dir: &Path) -> Result<Outcome> {
    let program = loader.program(dir).into();
    let expanded = |value: &str| value.replace("{dir}", &dir.to_string_lossy());
    let env = case.env.iter().map(|(name, value)| (name.clone(), expanded(value))).collect();
    let launch = Launch { program, args: Vec::new(), env, rlimit_stack: None, user: User::Oneself };
    launch.run(TIMEOUT)
}
