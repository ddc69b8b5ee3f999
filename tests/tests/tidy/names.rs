//! A type's name has one meaning in the loader.

use std::collections::BTreeMap;

use crate::{loader, none};

/// Names that both programs define, each for its own platform (`run/interface.rs`), and a structure of <link.h>.
const IN_BOTH: [&str; 2] = ["ThreadLocal", "LinkMap"];

/// The type that a line of code defines.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| *word == "unsafe" || word.starts_with("pub"));
    let keyword = words.next()?;
    let name = words.next()?;
    let end = name.find(|character: char| !character.is_alphanumeric()).unwrap_or(name.len());
    ["struct", "enum", "union", "trait"].contains(&keyword).then_some(&name[..end])
}

#[test]
fn no_type_has_the_name_of_another() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in loader().iter().filter(|file| !file.path.ends_with("/testing.rs")) {
        for (number, line) in file.code() {
            if let Some(name) = defined(line) {
                places.entry(name.to_owned()).or_default().push(format!("{}:{number}", file.path));
            }
        }
    }
    assert!(places.len() > 100, "only {} types were found", places.len());
    let is_twice = |name: &str, count: usize| count > 1 && !(count == 2 && IN_BOTH.contains(&name));
    let twice = places.iter().filter(|(name, places)| is_twice(name, places.len()));
    none(&twice.map(|(name, places)| format!("`{name}`: {}", places.join(", "))).collect::<Vec<_>>());
}

#[test]
fn definitions_are_told_from_other_lines() {
    assert_eq!(defined("pub(crate) struct Gap<'a> {"), Some("Gap"));
    assert_eq!(defined("    enum Kind {"), Some("Kind"));
    assert_eq!(defined("pub unsafe trait Source: Copy {"), Some("Source"));
    assert_eq!(defined("impl Gap {"), None);
}
