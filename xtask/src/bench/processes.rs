//! Comparison of whole processes: time, page faults, and exact counts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::driver::{self, Effort, Job, Sample};
use super::report::{Cell, Table};
use super::spread::Spread;
use super::workshop::Workshop;
use crate::count::ENVIRONMENT;
use crate::count::trace::{self, Trace};

/// A program that is compared with others.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    label: String,
    program: PathBuf,
    status: i32,
    argument: Option<String>,
    variables: Vec<(&'static str, String)>,
}

impl Contender {
    /// A program that is run without arguments, and must end with that status.
    pub(crate) fn new(label: impl Into<String>, program: PathBuf, status: i32) -> Self {
        Self { label: label.into(), program, status, argument: None, variables: Vec::new() }
    }

    /// Adds an argument.
    pub(crate) fn argument(self, argument: &str) -> Self {
        Self { argument: Some(argument.to_owned()), ..self }
    }

    /// Adds a variable.
    pub(crate) fn variable(mut self, name: &'static str, value: &Path) -> Result<Self> {
        self.variables.push((name, super::workshop::text(value)?.to_owned()));
        Ok(self)
    }

    fn job(&self) -> Result<Job> {
        let mut job = Job::new(&self.program, self.status)?;
        for (name, value) in &self.variables {
            job = job.variable(name, value);
        }
        Ok(match &self.argument {
            Some(argument) => job.argument(argument),
            None => job,
        })
    }

    fn trace(&self) -> Result<Trace> {
        let mut environment = ENVIRONMENT.to_vec();
        for (name, value) in &self.variables {
            environment.retain(|(other, _)| other != name);
            environment.push((name, value));
        }
        trace::trace_with(&self.program, self.argument.as_deref(), &environment)
    }
}

/// The figures of all contenders.
pub(crate) struct Comparison {
    contenders: Vec<Contender>,
    samples: Vec<Sample>,
    traces: Vec<Trace>,
}

impl Comparison {
    /// Runs them by turns, and each once step by step.
    pub(crate) fn run(workshop: &Workshop<'_>, effort: Effort, contenders: Vec<Contender>) -> Result<Self> {
        let jobs = contenders.iter().map(Contender::job).collect::<Result<Vec<_>>>()?;
        let samples = driver::measure(workshop, effort, &jobs)?;
        let traced = || contenders.iter().map(Contender::trace).collect::<Result<Vec<_>>>();
        let (traces, _) = trace::without_randomisation(traced)?;
        Ok(Self { contenders, samples, traces })
    }

    /// The times of a contender, one for each round.
    pub(crate) fn times(&self, label: &str) -> Result<&[f64]> {
        let place = self.contenders.iter().position(|contender| contender.label == label);
        let sample = place.and_then(|place| self.samples.get(place));
        Ok(&sample.with_context(|| format!("nothing is called {label}"))?.times)
    }

    /// A table of all figures, with the ratio to one contender.
    pub(crate) fn table(&self, caption: &str, to: &str) -> Result<Table> {
        let to = self.times(to)?;
        let header = ["program", "µs", "ratio (p10 to p90)", "page faults", "system calls", "instructions"];
        let mut table = Table::new(caption, &header);
        for ((contender, sample), trace) in self.contenders.iter().zip(&self.samples).zip(&self.traces) {
            table.push(vec![
                Cell::text(&contender.label),
                Cell::Figure(Spread::of(sample.times.iter().copied()).median / 1000.0, 1),
                Cell::Ratio(Spread::of_ratios(&sample.times, to)),
                Cell::Figure(Spread::of(sample.faults.iter().copied()).median, 1),
                Cell::Count(trace.system_calls.len() as u64),
                Cell::Count(trace.instructions),
            ]);
        }
        Ok(table)
    }
}

/// The table of goals: ratios with a maximum each.
pub(crate) struct Goals(Table);

impl Goals {
    /// A table without rows.
    pub(crate) fn new() -> Self {
        Self(Table::new("Goals", &["what", "ratio (p10 to p90)", "goal"]))
    }

    /// Adds a goal. The median of the ratios decides.
    pub(crate) fn at_most(&mut self, what: &str, times: &[f64], to: &[f64], goal: f64) {
        let ratio = Spread::of_ratios(times, to);
        self.0.push(vec![Cell::text(what), Cell::Ratio(ratio), Cell::AtMost(ratio.median, goal)]);
    }

    /// The table of all goals.
    pub(crate) fn table(self) -> Table {
        self.0
    }
}
