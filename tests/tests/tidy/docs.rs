//! Rules of the prose: documents name files that exist; docs say the thing itself, and when a function fails.

use std::fs;

use crate::{Text, none, root, texts};

/// Beginnings that send the reader elsewhere: to the doc before it, or to the name below it.
const BEGINNINGS: [&str; 2] = ["The same", "As "];

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

/// Checks a rule over all Rust files of the repository.
fn rule(find: fn(&Text) -> Vec<String>) {
    let files = texts("").into_iter().filter(|file| file.path.ends_with(".rs"));
    none(&files.flat_map(|file| find(&file)).collect::<Vec<_>>());
}

/// First lines of docs that have one of [`BEGINNINGS`].
fn bad_beginnings(file: &Text) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = None;
    for (number, line) in (1..).zip(file.text.lines()) {
        let doc = doc_of(line);
        let (kind, words) = doc.unzip();
        let begins = |words: &str| BEGINNINGS.iter().any(|beginning| words.starts_with(beginning));
        if kind != before && words.is_some_and(begins) {
            found.push(format!("{}:{number}: {}: say the thing itself", file.path, line.trim()));
        }
        before = kind;
    }
    found
}

/// Prefix and words of a line of documentation.
fn doc_of(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim();
    ["///", "//!"].into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?.trim_start())))
}

/// Public functions that return `Result` and have no section `# Errors`.
fn missing_errors(file: &Text) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let head = line.trim().split('(').next().unwrap_or_default();
        let is_function = head.starts_with("pub ") && head.contains("fn ") && !line.trim().starts_with("//");
        if !is_function || !returns_result(&lines[index..]) {
            continue;
        }
        // Attributes may take several lines; what is above them ends an item, or is blank.
        let above = lines[..index].iter().rev();
        let is_own =
            |line: &&&str| doc_of(line).is_some() || !(line.trim().is_empty() || line.ends_with(['{', '}', ';']));
        if !above.take_while(is_own).filter_map(|line| doc_of(line)).any(|(_, words)| words == "# Errors") {
            found.push(format!("{}:{}: {}: no `# Errors`", file.path, index + 1, line.trim()));
        }
    }
    found
}

/// Whether the function whose signature begins these lines returns a `Result`.
fn returns_result(lines: &[&str]) -> bool {
    let ends = |line: &&str| line.ends_with(['{', '}', ';']);
    let length = lines.iter().position(ends).map_or(lines.len(), |last| last + 1);
    let signature = lines[..length].join(" ");
    let signature = signature.split(" where ").next().unwrap_or_default();
    // Arrows inside the parameters belong to functions that are arguments.
    let mut depth = 0;
    let mut result = "";
    for (at, character) in signature.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            '>' if depth == 0 && signature[..at].ends_with('-') => result = &signature[at + 1..],
            _ => {}
        }
    }
    let name = result.split(['<', '{', ';']).next().unwrap_or_default();
    name.trim().rsplit("::").next() == Some("Result")
}

#[test]
fn docs_say_the_thing_itself() {
    rule(bad_beginnings);
}

#[test]
fn public_functions_say_when_they_fail() {
    rule(missing_errors);
}

#[test]
fn rules_find_what_breaks_them() {
    let of = |text: &str| Text { path: "x.rs".to_owned(), text: text.to_owned() };
    for (text, count) in [
        ("/// The same, later.\n", 1),
        ("//! As a file.\n", 1),
        ("//! One.\n/// As a file.\n", 1),
        ("/// A file,\n/// As big as that.\n", 0),
        ("    /// Assembly.\n", 0),
        ("// The same.\n", 0),
    ] {
        assert_eq!(bad_beginnings(&of(text)).len(), count, "{text}");
    }
    for (text, count) in [
        ("pub fn f() -> Result<()> {\n", 1),
        ("/// Tries.\n#[must_use]\npub unsafe fn f() -> io::Result<()> {\n", 1),
        ("pub fn f(\n    x: u8,\n) -> Result<Option<u8>, Error> {\n", 1),
        ("/// # Errors\n/// Never.\n#[expect(\n    dead_code,\n)]\npub fn f() -> Result<()> {\n", 0),
        ("/// # Errors\n/// {\npub fn f() -> Result<()> { Ok(()) }\n", 0),
        ("/// # Errors\n\npub fn f() -> Result<()> {\n", 1),
        ("pub(crate) fn f() -> Result<()> {\n", 0),
        ("pub fn f(x: impl Fn() -> Result<()>) {\n", 0),
        ("pub fn f(x: impl Fn() -> Result<()>) -> bool {\n", 0),
        ("pub fn f() -> Option<Result<()>> {\n", 0),
        ("pub fn f<F>(x: F)\nwhere\n    F: Fn() -> Result<()>,\n{\n", 0),
    ] {
        assert_eq!(missing_errors(&of(text)).len(), count, "{text}");
    }
}
