//! The audit's table: each check with its figure and its verdict.

use std::fmt::Display;

use anyhow::{Result, bail};

/// One check.
#[derive(Debug)]
pub(crate) struct Row {
    /// The requirement.
    pub(crate) name: &'static str,
    /// The measured value.
    pub(crate) figure: String,
    /// The reason for which it does not hold, if it does not.
    pub(crate) failure: Option<String>,
}

impl Row {
    /// A requirement that holds so far.
    pub(crate) fn new(name: &'static str, figure: impl Display) -> Self {
        Self { name, figure: figure.to_string(), failure: None }
    }

    /// Fails with that reason unless the condition holds.
    pub(crate) fn require(mut self, condition: bool, reason: impl FnOnce() -> String) -> Self {
        if !condition {
            self.failure = Some(reason());
        }
        self
    }
}

/// The rows so far.
#[derive(Default)]
pub(crate) struct Table {
    checks: usize,
    failures: usize,
}

impl Table {
    /// Prints a part of the table.
    pub(crate) fn print(&mut self, title: &str, rows: &[Row]) {
        println!("{title}");
        for row in rows {
            self.checks += 1;
            let verdict = match &row.failure {
                None => "ok".to_owned(),
                Some(reason) => format!("FAIL: {reason}"),
            };
            self.failures += usize::from(row.failure.is_some());
            println!("    {:<42} {:<28} {verdict}", row.name, row.figure);
        }
    }

    /// An error if any row failed.
    pub(crate) fn finish(&self) -> Result<()> {
        println!("audit: {} checks, {} failed", self.checks, self.failures);
        if self.checks == 0 || self.failures > 0 {
            bail!("the audit failed: see the rows with FAIL");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failing_row_fails_the_table() {
        let mut table = Table::default();
        table.print("good", &[Row::new("a", 1)]);
        assert!(table.finish().is_ok());
        let bad = Row::new("b", 2).require(false, || "why".to_owned());
        table.print("bad", &[bad, Row::new("c", 3)]);
        assert!(table.finish().is_err());
    }

    #[test]
    fn an_empty_table_is_no_pass() {
        assert!(Table::default().finish().is_err());
    }
}
