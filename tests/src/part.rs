//! A shared object beside the program, as a `lib`, `native` or `stub` directive describes it.

use anyhow::{Context, Result, bail, ensure};

/// The kinds of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A library without libc.
    Library,
    /// A library with libc.
    Native,
    /// A library for the linker, removed after the program is linked.
    Stub,
}

/// A shared object beside the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its kind.
    pub kind: PartKind,
    /// Its file name, relative to the work directory.
    pub name: String,
    /// Its source, relative to `fixtures`, if not the fixture's own.
    pub from: Option<String>,
    /// Names of the parts that it is linked with.
    pub needs: Vec<String>,
    /// Whether the program is linked without it.
    pub indirect: bool,
    /// Whether it is built after the program.
    pub late: bool,
    /// Compiler flags.
    pub flags: Vec<String>,
}

impl Part {
    /// Parses the value of a `lib`, `native` or `stub` directive.
    ///
    /// # Errors
    /// There is no name, it does not end in `.so`, or a word is none of those that [`crate::recipe`] lists.
    pub fn parse(kind: PartKind, value: &str) -> Result<Self> {
        let mut words = value.split_whitespace();
        let name = words.next().context("no name")?.to_owned();
        ensure!(name.ends_with(".so"), "{name}: the name of a part ends in .so");
        let mut part =
            Self { kind, name, from: None, needs: Vec::new(), indirect: false, late: false, flags: Vec::new() };
        for word in words {
            match word.split_once('=') {
                _ if word.starts_with('-') || word.starts_with('{') => part.flags.push(word.to_owned()),
                Some(("from", file)) => part.from = Some(file.to_owned()),
                Some(("needs", name)) => part.needs.push(name.to_owned()),
                None if word == "indirect" => part.indirect = true,
                None if word == "late" => part.late = true,
                _ => bail!("{word}: neither a flag nor from=, needs=, indirect, late"),
            }
        }
        Ok(part)
    }

    /// The macro that is defined while this part is compiled: `IN_libone` for `libone.so`.
    #[must_use]
    pub fn define(&self) -> String {
        let file = self.name.rsplit('/').next().unwrap_or(&self.name);
        let stem = file.split('.').next().unwrap_or(file);
        format!("-DIN_{}", stem.replace('-', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, PartKind};

    #[test]
    fn everything_that_can_be_said() {
        let plain = Part::parse(PartKind::Library, "liba.so").unwrap();
        assert_eq!((plain.define().as_str(), plain.indirect, plain.late), ("-DIN_liba", false, false));
        let text = "sub/lib-b.so from=x.c needs=liba.so indirect late -DX=y {dir}/z";
        let part = Part::parse(PartKind::Native, text).unwrap();
        assert_eq!((part.kind, part.indirect, part.late), (PartKind::Native, true, true));
        assert_eq!(part.from.as_deref(), Some("x.c"));
        assert_eq!(part.needs, ["liba.so"]);
        assert_eq!(part.flags, ["-DX=y", "{dir}/z"]);
        assert_eq!(part.define(), "-DIN_lib_b");
    }

    #[test]
    fn refused() {
        for text in ["", "one", "one.so nonsense", "one.so x=y"] {
            assert!(Part::parse(PartKind::Library, text).is_err(), "{text}");
        }
    }
}
