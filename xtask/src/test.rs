//! All checks: the tests of all packages with both loaders, then the audit, then a quick run of the benches.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::audit;
use crate::bench;
use crate::loader::Profile;
use crate::musl;
use crate::packages;
use crate::repo::Repo;
use crate::run::{cargo, line, step};
use crate::stage::{Stage, stage_default};

/// Runs the tests with `filter` in their names; without a filter all of them, the audit and the benches.
pub(crate) fn test(repo: &Repo, filter: Option<&str>, no_install: bool) -> Result<()> {
    let mut left_out = packages::ensure(
        &[
            &packages::GCC,
            &packages::BINUTILS,
            &packages::ZLIB,
            &packages::MUSL,
            &packages::PYTHON,
            &packages::GDB,
            &packages::CLANG,
            &packages::LLD,
            &packages::MOLD,
            &packages::GXX,
            &packages::JEMALLOC,
            &packages::LIBGC,
            &packages::SQLITE,
            &packages::VALGRIND,
            &packages::LTRACE,
        ],
        no_install,
    )?;
    let release = stage_default(repo, Profile::Release)?;
    let debug = stage_default(repo, Profile::Debug)?;
    let musl_lib = match packages::MUSL.present() {
        true => Some(musl::zlib(repo)?.lib),
        false => None,
    };

    let tests = run_tests(repo, filter, &release, &debug, musl_lib)?;
    for what in &tests.left_out {
        left_out.push(what.clone());
    }
    let audit = match filter {
        None => Some(audit::audit_staged(repo, &release, &debug)),
        Some(_) => {
            left_out.push("the audit: only the named tests were asked for".to_owned());
            None
        }
    };

    let benches = match filter {
        None if packages::MUSL.present() => Some(bench::try_all(repo)),
        None => None,
        Some(_) => {
            left_out.push("the benches: only the named tests were asked for".to_owned());
            None
        }
    };

    step("summary");
    println!("tests: {tests}");
    if let Some(result) = &audit {
        println!("audit: {}", if result.is_ok() { "ok" } else { "FAILED" });
    }
    if let Some(result) = &benches {
        println!("benches: {}", if result.is_ok() { "they run" } else { "FAILED" });
    }
    left_out.print();
    tests.verdict()?;
    audit.unwrap_or(Ok(()))?;
    benches.unwrap_or(Ok(()))
}

/// Runs cargo's tests, shows their output and adds up their results.
fn run_tests(
    repo: &Repo,
    filter: Option<&str>,
    release: &Stage,
    debug: &Stage,
    musl_lib: Option<PathBuf>,
) -> Result<Tally> {
    step("cargo test");
    let mut command = cargo(repo.root());
    command
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(filter)
        .env("SLUL_STAGE_RELEASE", &release.root)
        .env("SLUL_STAGE_DEBUG", &debug.root)
        .env_remove("SLUL_MUSL_LIB")
        .envs(musl_lib.map(|directory| ("SLUL_MUSL_LIB", directory)))
        .stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| line(&command))?;
    let mut tally = Tally::default();
    let stdout = child.stdout.take().context("the output of cargo test")?;
    for printed in BufReader::new(stdout).lines() {
        let printed = printed.context("the output of cargo test")?;
        tally.take_in(&printed);
        println!("{printed}");
    }
    tally.cargo_succeeded = child.wait().context("cargo test")?.success();
    Ok(tally)
}

/// The results of all test programs together.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Parts that test programs report as left out.
    left_out: Vec<String>,
    cargo_succeeded: bool,
}

impl Tally {
    /// Takes in a line: a test program's last, `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, or one that
    /// says `3 tests left out: why`.
    fn take_in(&mut self, line: &str) {
        if line.contains(" tests left out: ") {
            self.left_out.push(line.to_owned());
        }
        let result = line.strip_prefix("test result: ");
        let Some((_, counts)) = result.and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        self.programs += 1;
        for count in counts.split("; ") {
            let (number, what) = count.split_once(' ').unwrap_or_default();
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn verdict(&self) -> Result<()> {
        if !self.cargo_succeeded || self.failed > 0 {
            bail!("tests failed");
        }
        if self.passed == 0 {
            bail!("no test was run: the filter must be a part of a test's name");
        }
        Ok(())
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} ignored, in {} programs",
            self.passed, self.failed, self.ignored, self.programs
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s";
    const BAD: &str =
        "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s";

    fn tally(lines: &[&str], cargo_succeeded: bool) -> Tally {
        let mut tally = Tally { cargo_succeeded, ..Tally::default() };
        lines.iter().for_each(|line| tally.take_in(line));
        tally
    }

    #[test]
    fn results_are_added_up() {
        let tally = tally(&["running 3 tests", GOOD, BAD], true);
        let shown = tally.to_string();
        assert_eq!(shown, "5 passed, 1 failed, 1 ignored, in 2 programs");
    }

    #[test]
    fn what_test_programs_leave_out_is_kept() {
        let line = "12 tests left out: there is no musl";
        assert_eq!(tally(&[GOOD, line], true).left_out, [line]);
    }

    #[test]
    fn only_a_good_run_is_good() {
        assert!(tally(&[GOOD], true).verdict().is_ok());
        assert!(tally(&[GOOD], false).verdict().is_err());
        assert!(tally(&[GOOD, BAD], true).verdict().is_err());
        assert!(tally(&[], true).verdict().is_err());
    }
}
