//! Starting programs by turns, and timing them: the Rust side of `bench/driver.c`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::workshop::Workshop;
use crate::pin;
use crate::run::output;

/// Numbers of runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds, of which each gives one ratio.
    pub(crate) rounds: usize,
    /// Runs of each program in a round, of which the median counts.
    pub(crate) each: usize,
}

impl Effort {
    /// A clause for the report; `what` is the subject.
    pub(crate) fn method(self, what: &str) -> String {
        let Self { rounds, each } = self;
        format!("{rounds} rounds, in each of which {what} is run {each} times by turns, pinned to one CPU")
    }
}

/// A program to start.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    status: i32,
    words: Vec<String>,
}

impl Job {
    /// A program that must end with that status.
    pub(crate) fn new(program: &Path, status: i32) -> Result<Self> {
        let program = program.to_str().context("a path is not UTF-8")?.to_owned();
        Ok(Self { status, words: vec![program] })
    }

    /// With one more variable in its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.words.insert(0, format!("{name}={value}"));
        self
    }

    /// With one more argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.words.push(argument.to_owned());
        self
    }
}

/// The figures of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Nanoseconds, one figure for each round.
    pub(crate) times: Vec<f64>,
    /// Minor page faults of a run.
    pub(crate) faults: Vec<f64>,
    /// Nanoseconds of a run outside the kernel. Both are attributed tick by tick: in a run without any, all is the
    /// user's.
    pub(crate) user: Vec<f64>,
    /// Nanoseconds of a run inside it.
    pub(crate) system: Vec<f64>,
}

/// Runs all of them by turns.
pub(crate) fn measure(workshop: &Workshop<'_>, effort: Effort, jobs: &[Job]) -> Result<Vec<Sample>> {
    let driver = workshop.host("driver", "driver.c")?;
    let mut command = Command::new(driver);
    command.args([pin::cpu()?, effort.rounds, effort.each].map(|number| number.to_string()));
    for (number, job) in jobs.iter().enumerate() {
        if number > 0 {
            command.arg("--");
        }
        command.arg(job.status.to_string()).args(&job.words);
    }
    parse(&output(&mut command)?, jobs.len()).context("the driver's output")
}

fn parse(text: &str, jobs: usize) -> Result<Vec<Sample>> {
    let mut samples = vec![Sample::default(); jobs];
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[job, _round, time, faults, user, system] = fields.as_slice() else {
            anyhow::bail!("not six fields: {line}");
        };
        let sample = samples.get_mut(job.parse::<usize>()?).with_context(|| format!("no job {job}"))?;
        sample.times.push(time.parse()?);
        sample.faults.push(faults.parse()?);
        sample.user.push(user.parse()?);
        sample.system.push(system.parse()?);
    }
    anyhow::ensure!(samples.iter().all(|sample| !sample.times.is_empty()), "nothing was measured of some job");
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_by_job() {
        let samples = parse("0 0 100 2.50 60 40\n1 0 300 4.00 300 0\n0 1 110 2.00 50 60\n", 2).unwrap();
        assert_eq!(samples[0].times, [100.0, 110.0]);
        assert_eq!(samples[1].faults, [4.0]);
        assert_eq!(
            (samples[0].user.as_slice(), samples[1].system.as_slice()),
            ([60.0, 50.0].as_slice(), [0.0].as_slice())
        );
        assert!(parse("0 0 100 2.5 60 40\n", 2).is_err());
        assert!(parse("2 0 100 2.5 60 40\n", 2).is_err());
        assert!(parse("0 0 100 2.5\n", 1).is_err());
    }
}
