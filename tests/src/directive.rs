//! Directives in comments: `//# key: value`, or `//# key[variant]: value` for one variant.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Folders below `fixtures` that hold no fixtures.
const NOT_FIXTURES: [&str; 2] = ["golden", "parts"];

/// One `//#` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Its line number in the file, from 1.
    pub line: usize,
    /// The word before the colon; [`crate::recipe`] has the list.
    pub key: String,
    /// Its variants; empty means all of the fixture's.
    pub variants: Vec<String>,
    /// The text after the colon, without spaces around it; may be empty.
    pub value: String,
}

/// A fixture's directives, not interpreted.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Its path below `fixtures`, without extension: `native/zlib`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The `variants` directive; one empty name if there is none.
    pub variants: Vec<String>,
    /// All other directives.
    pub directives: Vec<Directive>,
}

impl Fixture {
    /// Reads the fixture in `path`, which is below `root`.
    ///
    /// # Errors
    /// The file can not be read, or [`Self::parse`] refuses it.
    pub fn read(root: &Path, path: &Path) -> Result<Self> {
        let name = path.strip_prefix(root)?.with_extension("");
        let name = name.to_str().context("a fixture's name is not UTF-8")?.to_owned();
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        Self::parse(name, path.to_owned(), &text)
    }

    /// Takes the directives out of the text of a fixture.
    ///
    /// # Errors
    /// A `//#` line is no directive, a variant is not listed in `variants`, or that list is empty, twice there, or has
    /// a name twice. The error names the line.
    pub fn parse(name: String, path: PathBuf, text: &str) -> Result<Self> {
        let mut directives = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let place = || format!("{}:{}: {line}", path.display(), index + 1);
            if let Some(comment) = line.trim_start().strip_prefix("//#") {
                directives.push(Directive::parse(index + 1, comment).with_context(place)?);
            }
        }
        let variants = take_variants(&mut directives).with_context(|| path.display().to_string())?;
        for directive in &directives {
            for variant in &directive.variants {
                let line = directive.line;
                ensure!(variants.contains(variant), "{}:{line}: no variant {variant}", path.display());
            }
        }
        Ok(Self { name, path, variants, directives })
    }

    /// The directives of a variant, those without variants included, in the order of the file.
    pub fn directives_of<'a>(&'a self, variant: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives.iter().filter(move |directive| {
            directive.variants.is_empty() || directive.variants.iter().any(|name| name == variant)
        })
    }
}

impl Directive {
    /// Parses what follows `//#`.
    fn parse(line: usize, comment: &str) -> Result<Self> {
        let (head, value) = comment.split_once(':').context("a directive reads `//# key: value`")?;
        let head = head.trim();
        let (key, variants) = match head.split_once('[') {
            None => (head, Vec::new()),
            Some((key, rest)) => {
                let names = rest.strip_suffix(']').context("`[` without `]` before the colon")?;
                ensure!(!names.trim().is_empty(), "no variant between the brackets");
                (key, names.split_whitespace().map(str::to_owned).collect())
            }
        };
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        ensure!(is_word(key), "a key is made of lower-case letters and hyphens");
        Ok(Self { line, key: key.to_owned(), variants, value: value.trim().to_owned() })
    }
}

/// Removes the `variants` directive and returns its names.
fn take_variants(directives: &mut Vec<Directive>) -> Result<Vec<String>> {
    let Some(position) = directives.iter().position(|directive| directive.key == "variants") else {
        return Ok(vec![String::new()]);
    };
    let directive = directives.remove(position);
    ensure!(directive.variants.is_empty(), "`variants` is not for one variant");
    ensure!(directives.iter().all(|other| other.key != "variants"), "`variants` twice");
    let names: Vec<_> = directive.value.split_whitespace().map(str::to_owned).collect();
    if names.is_empty() {
        bail!("`variants` without a name");
    }
    ensure!(names.iter().collect::<BTreeSet<_>>().len() == names.len(), "a variant is named twice");
    Ok(names)
}

/// The paths of all fixtures below `root`, sorted.
///
/// # Errors
/// A folder can not be read, or holds a file that is neither `.c` nor `.rs`.
pub fn fixture_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for group in fs::read_dir(root).with_context(|| root.display().to_string())? {
        let group = group?;
        let is_fixtures = !NOT_FIXTURES.iter().any(|&name| group.file_name() == name);
        if group.file_type()?.is_dir() && is_fixtures {
            for file in fs::read_dir(group.path())? {
                let path = file?.path();
                let is_source = ["c", "rs"].iter().any(|&known| path.extension() == Some(OsStr::new(known)));
                ensure!(is_source, "{}: neither .c nor .rs", path.display());
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{Directive, Fixture};

    fn parse(text: &str) -> anyhow::Result<Fixture> {
        Fixture::parse("group/name".to_owned(), "group/name.c".into(), text)
    }

    #[test]
    fn lines_and_values() {
        let fixture = parse("//# exit: 3\nint x; // # not: one\n  //# env: A=b: c\n//# stdout:\n").unwrap();
        assert_eq!(fixture.variants, [""]);
        let plain = |line, key: &str, value: &str| Directive {
            line,
            key: key.to_owned(),
            variants: Vec::new(),
            value: value.to_owned(),
        };
        assert_eq!(fixture.directives, [plain(1, "exit", "3"), plain(3, "env", "A=b: c"), plain(4, "stdout", "")]);
    }

    #[test]
    fn a_variant_sees_its_own_and_the_common_ones() {
        let text = "//# variants: lazy now\n//# flags[now]: -z\n//# exit: 3\n//# args[lazy now]: a\n";
        let fixture = parse(text).unwrap();
        assert_eq!(fixture.variants, ["lazy", "now"]);
        let keys = |variant| fixture.directives_of(variant).map(|it| it.key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys("lazy"), ["exit", "args"]);
        assert_eq!(keys("now"), ["flags", "exit", "args"]);
    }

    #[test]
    fn refused() {
        for text in [
            "//# exit 3",
            "//# : 3",
            "//# Exit: 3",
            "//# exit[a: 3",
            "//# exit[]: 3",
            "//# exit[a]: 3",
            "//# variants: a b\n//# exit[c]: 3",
            "//# variants:",
            "//# variants: a a",
            "//# variants: a\n//# variants: b",
            "//# variants[a]: a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
