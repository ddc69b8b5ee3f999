//! The tables of `docs/security.md`: faults of other loaders, and the tests against them.
//!
//! A row's last cell has the tests: `hostile/kinds/searched` is the test `kinds/searched` of the target `hostile`, for
//! each loader and user. Each target in the tables checks that its own tests are there. A class whose name stands
//! between backquotes, at the beginning of the first cell, has a test of that name in `known`.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};

/// The targets that check the tables.
const TARGETS: [&str; 4] = ["fixtures", "hostile", "known", "ways"];

/// A row of a table: one class of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    name: String,
    /// Whether `known` has a test of that name.
    is_known: bool,
    tests: Vec<String>,
}

/// The test `documented/<target>`: the target has every test that the tables name. For `known` also: every class
/// between backquotes has a test of its name, and every test has a class.
#[must_use]
pub fn trial(target: &str, trials: &[Trial]) -> Trial {
    let names: Vec<String> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    let target = target.to_owned();
    Trial::test(format!("documented/{target}"), move || {
        read()
            .and_then(|classes| check(&target, &names, &classes))
            .map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn check(target: &str, trials: &[String], classes: &[Class]) -> Result<()> {
    let begins = |text: &str, start: &str| text.strip_prefix(start).is_some_and(|rest| rest.starts_with('/'));
    for class in classes {
        for test in &class.tests {
            let (of, name) = test.split_once('/').with_context(|| format!("{test}: not `target/name`"))?;
            ensure!(TARGETS.contains(&of), "{test}: the target {of} does not check its tests");
            // Names of tests of `known` begin with the target.
            let name = if of == "known" { test } else { name };
            let exists = trials.iter().any(|trial| begins(trial, name));
            ensure!(of != target || exists, "{}: there is no test {test}", class.name);
        }
        ensure!(!class.tests.is_empty(), "{} has no tests", class.name);
    }
    if target == "known" {
        let own = |class: &Class| format!("known/{}", class.name);
        for class in classes.iter().filter(|class| class.is_known) {
            ensure!(
                trials.iter().any(|trial| begins(trial, &own(class))),
                "no test is named after {}",
                class.name
            );
        }
        for trial in trials {
            let is_of = |class: &Class| class.is_known && begins(trial, &own(class));
            ensure!(classes.iter().any(is_of), "{trial} is of no class of the tables");
        }
    }
    Ok(())
}

/// The rows of the tables.
fn read() -> Result<Vec<Class>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let classes = parse(&fs::read_to_string(path).context(path)?);
    ensure!(!classes.is_empty(), "{path} has no table of classes");
    Ok(classes)
}

fn parse(text: &str) -> Vec<Class> {
    let class = |row: &str| {
        let cells = row.strip_prefix("| ")?.strip_suffix('|')?;
        let (first, rest) = cells.split_once(" |")?;
        let (_, last) = rest.rsplit_once('|').unwrap_or(("", rest));
        if last.trim() == "tests" {
            // The heads of the columns.
            return None;
        }
        let known = first.strip_prefix('`').and_then(|rest| rest.split_once('`'));
        let name = known.map_or(first, |(name, _)| name);
        // Every second piece stands between backquotes.
        let tests = last.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some(Class { name: name.to_owned(), is_known: known.is_some(), tests })
    };
    text.lines().filter_map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::{Class, check, parse};

    #[test]
    fn rows() {
        let text =
            "x\n| class | tests |\n|---|---|\n| `a-b` | text | `known/a-b`, `hostile/x/y` |\n| `c`: d | `z` | |\n";
        let class = |name: &str, is_known, tests: &[&str]| Class {
            name: name.to_owned(),
            is_known,
            tests: tests.iter().map(ToString::to_string).collect(),
        };
        let classes = parse(text);
        assert_eq!(classes, [class("a-b", true, &["known/a-b", "hostile/x/y"]), class("c", true, &[])]);
    }

    #[test]
    fn missing_tests() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let [known, hostile] = [names(&["known/a/one/debug"]), names(&["x/y/debug"])];
        let table = |text: &str| parse(&format!("| `a` | {text} |\n"));
        let good = table("`known/a`, `hostile/x/y`");
        assert!(check("known", &known, &good).is_ok() && check("hostile", &hostile, &good).is_ok());
        assert!(check("hostile", &hostile, &table("`hostile/x/z`")).is_err());
        assert!(check("known", &known, &table("`known/b`")).is_err());
        assert!(check("known", &known, &table("`tidy/b`")).is_err());
        assert!(check("known", &known, &table("")).is_err());
        assert!(check("known", &names(&["known/b/one/debug"]), &table("`hostile/x/y`")).is_err());
        assert!(check("known", &names(&["known/a/one", "known/b/one"]), &table("`known/a`")).is_err());
    }
}
