//! The exported names, against the list that says what they should be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::image::{Export, Image};
use super::table::Row;

/// The version node of every export.
const VERSION: &str = "SLUL_1.0";

/// Compares with the golden list: one name a line, sorted.
pub(crate) fn check(image: &Image, golden: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(golden).with_context(|| format!("read {}", golden.display()))?;
    Ok(vec![names(&image.exports, &text), versions(&image.exports)])
}

/// Compares with a list of names, one a line, sorted.
pub(crate) fn names(exports: &[Export], golden: &str) -> Row {
    let expected: Vec<&str> = golden.lines().collect();
    let found: BTreeSet<&str> = exports.iter().map(|e| e.name.as_str()).collect();
    let wanted: BTreeSet<&str> = expected.iter().copied().collect();
    let lost = wanted.difference(&found).map(|name| format!("-{name}"));
    let gained = found.difference(&wanted).map(|name| format!("+{name}"));
    let mut wrong: Vec<String> = lost.chain(gained).collect();
    if !expected.is_sorted() || expected.len() != wanted.len() {
        wrong.push("the golden list is not sorted, or repeats a name".to_owned());
    }
    let figure = format!("{} names", exports.len());
    Row::new("exports equal the list", figure).require(wrong.is_empty(), || wrong.join(" "))
}

fn versions(exports: &[Export]) -> Row {
    let wrong: Vec<String> = exports
        .iter()
        .filter(|export| export.version.as_deref() != Some(VERSION))
        .map(|export| format!("{}@{:?}", export.name, export.version))
        .collect();
    Row::new("every export has its version", VERSION).require(wrong.is_empty(), || wrong.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(name: &str, version: Option<&str>) -> Export {
        Export { name: name.to_owned(), version: version.map(str::to_owned) }
    }

    fn some() -> Vec<Export> {
        vec![export("a", Some(VERSION)), export("b", Some(VERSION))]
    }

    #[test]
    fn the_same_names_pass() {
        assert_eq!(names(&some(), "a\nb\n").failure, None);
        assert_eq!(versions(&some()).failure, None);
    }

    #[test]
    fn a_lost_and_a_new_name_are_shown() {
        let failure = names(&some(), "a\nc\n").failure;
        assert_eq!(failure.as_deref(), Some("-c +b"));
    }

    #[test]
    fn a_disorderly_list_fails() {
        assert!(names(&some(), "b\na\n").failure.is_some());
        assert!(names(&some(), "a\na\nb\n").failure.is_some());
    }

    #[test]
    fn another_version_fails() {
        assert!(versions(&[export("a", None)]).failure.is_some());
        assert!(versions(&[export("a", Some("SLUL_1.1"))]).failure.is_some());
    }
}
