//! What may come of a start in hostile surroundings: the program runs as always, or is refused in one line.

use crate::launch::{Ending, Outcome};
use crate::recipe::SUCCESS;
use anyhow::{Result, bail};

/// Exit status of a refusal.
pub const REFUSED: i32 = 127;

/// What came of it.
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

/// Judges an outcome. `output` is what the program prints when it runs, `before` what it may have printed when it is
/// refused: nothing, unless it is refused at its first native call.
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

/// As [`judge`], of a start that has to succeed.
pub fn runs(outcome: &Outcome, output: &str) -> Result<()> {
    match judge(outcome, output, &[])? {
        Verdict::Ran => Ok(()),
        Verdict::Refused(line) => bail!("refused: {line}"),
    }
}

/// As [`judge`], of a start that must not succeed; the line has to contain `part`.
pub fn refused(outcome: &Outcome, part: &str) -> Result<()> {
    match judge(outcome, "", &[""])? {
        Verdict::Refused(line) if line.contains(part) => Ok(()),
        other => bail!("{other:?}, and not refused with `{part}`"),
    }
}

/// Several complaints of one test, said together.
#[derive(Default)]
pub struct Complaints(Vec<String>);

impl Complaints {
    /// Notes an error, with what it is about.
    pub fn note<T>(&mut self, about: impl std::fmt::Display, result: Result<T>) -> Option<T> {
        result.inspect_err(|error| self.0.push(format!("{about}: {error:#}"))).ok()
    }

    /// Notes something that is wrong.
    pub fn push(&mut self, text: String) {
        self.0.push(text);
    }

    /// An error if there was any.
    pub fn verdict(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { bail!("{} findings:\n{}", self.0.len(), self.0.join("\n")) }
    }
}
