//! The two permitted outcomes of a start in hostile surroundings: the program runs as always, or is refused in one line.

use crate::launch::{Ending, Outcome};
use crate::recipe::SUCCESS;
use anyhow::{Result, bail};

/// Exit status of a refusal.
pub const REFUSED: i32 = 127;

/// A permitted outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ran as always.
    Ran,
    /// It was refused, in this line.
    Refused(String),
}

impl Verdict {
    /// The line; empty if the program ran.
    pub fn line(&self) -> &str {
        match self {
            Self::Ran => "",
            Self::Refused(line) => line,
        }
    }
}

/// Judges an outcome. `output` is the program's output when it runs, `before` its possible outputs when it is refused:
/// empty, unless it is refused at its first native call.
///
/// # Errors
/// The outcome is neither: another status or output, more than one line, or one that reports a bug of the loader.
pub fn judge(outcome: &Outcome, output: &str, before: &[&str]) -> Result<Verdict> {
    let Outcome { ending, stdout, stderr } = outcome;
    match ending {
        Ending::Exit(SUCCESS) if stdout == output && stderr.is_empty() => return Ok(Verdict::Ran),
        Ending::Exit(REFUSED) if before.contains(&stdout.as_str()) => {
            let line = stderr.strip_suffix('\n').unwrap_or(stderr);
            let is_line = line.starts_with("slulrtld: ") && !line.contains('\n');
            if is_line && !line.starts_with("slulrtld: bug") {
                return Ok(Verdict::Refused(line.to_owned()));
            }
        }
        _ => {}
    }
    bail!("{ending:?}, standard output {stdout:?}, standard error {stderr:?}")
}

/// Checks the outcome of a start that must succeed with this output.
///
/// # Errors
/// The program was refused, or [`judge`] does not permit the outcome.
pub fn runs(outcome: &Outcome, output: &str) -> Result<()> {
    match judge(outcome, output, &[])? {
        Verdict::Ran => Ok(()),
        Verdict::Refused(line) => bail!("refused: {line}"),
    }
}

/// Checks the outcome of a start that must be refused, without output, in a line that contains `part`.
///
/// # Errors
/// The program ran, the line does not contain `part`, or [`judge`] does not permit the outcome.
pub fn refused(outcome: &Outcome, part: &str) -> Result<()> {
    match judge(outcome, "", &[""])? {
        Verdict::Refused(line) if line.contains(part) => Ok(()),
        other => bail!("{other:?}, and not refused with `{part}`"),
    }
}

/// The failed checks of one test, reported together.
#[derive(Default)]
pub struct Complaints(Vec<String>);

impl Complaints {
    /// Keeps an error with its subject; gives the value if there was none.
    pub fn note<T>(&mut self, about: impl std::fmt::Display, result: Result<T>) -> Option<T> {
        result.inspect_err(|error| self.0.push(format!("{about}: {error:#}"))).ok()
    }

    /// Keeps a message about a failed check.
    pub fn push(&mut self, text: String) {
        self.0.push(text);
    }

    /// The result of the test.
    ///
    /// # Errors
    /// There was any message; the error has all of them, a line each.
    pub fn verdict(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { bail!("{} findings:\n{}", self.0.len(), self.0.join("\n")) }
    }
}
