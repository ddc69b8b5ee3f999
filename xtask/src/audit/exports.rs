//! The exported names, compared with the table of them.

use std::collections::BTreeSet;

use abi::export::{self, VERSION};

use super::image::{Export, Image};
use super::table::Row;

/// Compares the loader with the table.
pub(crate) fn check(image: &Image) -> Vec<Row> {
    let golden: Vec<&str> = export::ALL.iter().map(|export| export.name).collect();
    vec![names(&image.exports, &golden), versions(&image.exports)]
}

/// Compares with a list of names, sorted.
pub(crate) fn names(exports: &[Export], golden: &[&str]) -> Row {
    let found: BTreeSet<&str> = exports.iter().map(|e| e.name.as_str()).collect();
    let wanted: BTreeSet<&str> = golden.iter().copied().collect();
    let lost = wanted.difference(&found).map(|name| format!("-{name}"));
    let gained = found.difference(&wanted).map(|name| format!("+{name}"));
    let mut wrong: Vec<String> = lost.chain(gained).collect();
    if !golden.is_sorted() || golden.len() != wanted.len() {
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
        assert_eq!(names(&some(), &["a", "b"]).failure, None);
        assert_eq!(versions(&some()).failure, None);
    }

    #[test]
    fn a_lost_and_a_new_name_are_shown() {
        let failure = names(&some(), &["a", "c"]).failure;
        assert_eq!(failure.as_deref(), Some("-c +b"));
    }

    #[test]
    fn a_disorderly_list_fails() {
        assert!(names(&some(), &["b", "a"]).failure.is_some());
        assert!(names(&some(), &["a", "a", "b"]).failure.is_some());
    }

    #[test]
    fn another_version_fails() {
        assert!(versions(&[export("a", None)]).failure.is_some());
        assert!(versions(&[export("a", Some("SLUL_1.1"))]).failure.is_some());
    }
}
