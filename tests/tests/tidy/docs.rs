//! Documents name files that are there.

use std::fs;

use crate::{none, root};

/// Where a path in a document may begin: the repository, or the loader's sources; `bin/` is short for its program.
const STARTS: [&str; 3] = ["", "rtld/src/", "tests/"];

/// The documents.
fn documents() -> Vec<String> {
    let mut documents = vec!["DESIGN.md".to_owned(), "README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        documents.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    documents
}

/// Whether the words between backticks are the path of a source file or a folder.
fn is_path(words: &str) -> bool {
    let path = words.chars().all(|part| part.is_alphanumeric() || "_-/.".contains(part));
    path && (words.ends_with(".rs") || words.ends_with('/')) && !words.starts_with('/') && words.contains('/')
}

#[test]
fn named_files_exist() {
    let mut violations = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        for words in text.split('`').skip(1).step_by(2).filter(|words| is_path(words)) {
            count += 1;
            let path = match words.strip_prefix("bin/") {
                Some(rest) => format!("bin/slulrtld/{rest}"),
                None => words.to_owned(),
            };
            if !STARTS.iter().any(|start| root().join(start).join(&path).exists()) {
                violations.push(format!("{document}: `{words}` is not there"));
            }
        }
    }
    none(&violations);
    assert!(count > 50, "only {count} paths were found");
}

#[test]
fn paths_are_told_from_other_words() {
    assert!(is_path("run/begin.rs") && is_path("bin/early/"));
    assert!(!is_path("/usr/lib/slul/") && !is_path("slul_dl*") && !is_path("begin.rs"));
}
