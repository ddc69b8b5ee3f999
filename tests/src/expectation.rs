//! The outcome of a run, compared with its recipe.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use anyhow::{Result, bail};

use crate::build::Build;
use crate::launch::Outcome;
use crate::recipe::{Golden, Recipe};
use crate::stage;

/// Compares an outcome with its recipe.
///
/// # Errors
/// The outcome differs: the error has each difference, all output, and the status. Or the golden file of the recipe
/// can not be written.
pub fn check(recipe: &Recipe, build: &Build, outcome: &Outcome) -> Result<()> {
    let mut complaints = String::new();
    if outcome.ending != recipe.ending {
        writeln!(complaints, "ended with {:?}, not {:?}", outcome.ending, recipe.ending)?;
    }
    let expanded = |lines: &[String]| lines.iter().map(|line| build.expand(line)).collect::<Vec<_>>();
    if !all_match(&expanded(&recipe.stdout), &outcome.stdout) {
        writeln!(complaints, "standard output is not\n{}", indented(&recipe.stdout.join("\n")))?;
    }
    let only_some = !recipe.stderr_any.is_empty() || recipe.golden.is_some();
    if !only_some && !all_match(&expanded(&recipe.stderr), &outcome.stderr) {
        writeln!(complaints, "standard error is not\n{}", indented(&recipe.stderr.join("\n")))?;
    }
    for line in expanded(&recipe.stderr_any) {
        if !outcome.stderr.lines().any(|candidate| matches(&line, candidate)) {
            writeln!(complaints, "no line on standard error is\n{}", indented(&line))?;
        }
    }
    if let Some(golden) = &recipe.golden {
        complaints += &differences(golden, build, &outcome.stderr)?;
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!(
        "{complaints}standard output:\n{}standard error:\n{}ended with {:?}\n",
        indented(&outcome.stdout),
        indented(&outcome.stderr),
        outcome.ending
    )
}

/// Whether there are as many lines as patterns, and each line matches its pattern.
fn all_match(patterns: &[String], text: &str) -> bool {
    let lines: Vec<_> = text.lines().collect();
    lines.len() == patterns.len() && patterns.iter().zip(lines).all(|(pattern, line)| matches(pattern, line))
}

/// Whether a line matches a pattern; `...` in a pattern stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<_> = rest.split("...").collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = line.split_once(piece) else {
            return false;
        };
        line = after;
    }
    line.ends_with(end)
}

/// The difference between the output and the golden file; empty if there is none. With `SLUL_BLESS` set, the file is
/// first written anew from the output.
fn differences(golden: &Golden, build: &Build, stderr: &str) -> Result<String> {
    let mut printed = String::new();
    for line in stderr.lines().filter(|line| line.starts_with(&golden.prefix)) {
        writeln!(printed, "{}", normalised(line, build.dir()))?;
    }
    let path = stage::fixtures().join("golden").join(&golden.file);
    if env::var_os("SLUL_BLESS").is_some() && !printed.is_empty() {
        fs::write(&path, &printed)?;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    Ok(match (kept == printed, printed.is_empty()) {
        (_, true) => format!("nothing on standard error begins with `{}`\n", golden.prefix),
        (true, false) => String::new(),
        (false, false) => format!(
            "{} (SLUL_BLESS=1 writes it anew) is\n{}but printed was\n{}",
            path.display(),
            indented(&kept),
            indented(&printed)
        ),
    })
}

/// A line with `0x#` in place of addresses, and `{dir}` in place of the work directory, which differ from run to run.
fn normalised(line: &str, dir: &Path) -> String {
    let line = line.replace(&*dir.to_string_lossy(), "{dir}");
    let mut pieces = line.split("0x");
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        result += "0x#";
        result += piece.trim_start_matches(|character: char| character.is_ascii_hexdigit());
    }
    result
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::{all_match, matches, normalised};
    use std::path::Path;

    #[test]
    fn patterns() {
        for (pattern, line, expected) in [
            ("a b", "a b", true),
            ("a b", "a bc", false),
            ("a...", "abc", true),
            ("a...c", "ac", true),
            ("a...c", "acd", false),
            ("...b...", "abc", true),
            ("...b...", "acc", false),
            ("a...b...d", "a-b-c-d", true),
            ("a...c...b...d", "a-b-c-d", false),
            ("ab...bc", "abc", false),
        ] {
            assert_eq!(matches(pattern, line), expected, "{pattern} {line}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let patterns = ["a".to_owned(), "b...".to_owned()];
        assert!(all_match(&patterns, "a\nbc\n"));
        assert!(!all_match(&patterns, "a\n"));
        assert!(!all_match(&patterns, "a\nb\nc\n"));
        assert!(all_match(&[], "") && !all_match(&[], "x"));
    }

    #[test]
    fn addresses_and_places_do_not_count() {
        let line = normalised("NEEDED 0x7f00aBc, 0x10 in /tmp/w-1/libz.so", Path::new("/tmp/w-1"));
        assert_eq!(line, "NEEDED 0x#, 0x# in {dir}/libz.so");
    }
}
