//! A recipe: how a variant of a fixture is built and run, and its expected outcome.
//!
//! | directive | meaning |
//! |---|---|
//! | `variants: a b` | build and run it once for each; `key[a]: ...` is for `a` alone |
//! | `lib: NAME [from=FILE] [needs=NAME]... [indirect] [late] [flags]` | a libc-free library of the same source with `-DIN_<stem>` and `-DLIBRARY`, linked to the program in this order; `indirect` is not linked to it, `late` is built after it |
//! | `native: NAME ...` | likewise an ordinary library with libc |
//! | `stub: NAME ...` | a library that is removed after the program is linked (a `late` one may take its name) |
//! | `symlink: NAME TARGET` | a second name, made before the program |
//! | `flags: ...`, `program: ...` | compiler flags of program and libraries, of the program alone |
//! | `link: ...` | arguments after the libraries when the program is linked |
//! | `rpath: PATH` | instead of the work directory, in program and libraries; `none` for none |
//! | `installed: PATH...` | `{dir}` is an installation: the loader in `{dir}/lib`, and these files of the staged tree |
//! | `damage: NAME FAULT` | breaks a file after it is built ([`crate::damage`]) |
//! | `args: ...`, `env: K=V` | of the program; its environment holds nothing else |
//! | `rlimit-stack: BYTES` | both limits |
//! | `exit: N`, `signal: N` | how it ends; 17 by default |
//! | `stdout: LINE`, `stderr: LINE` | exactly these lines, in this order; `...` stands for any text |
//! | `stderr-any: LINE` | one line of many |
//! | `golden: FILE PREFIX` | the lines on stderr with this prefix are those of `golden/FILE` |
//! | `setid: N` | the program is set-uid and set-gid to this user and group |
//! | `needs: musl`, `needs: root` | left out, and said so, where there is no musl build of zlib, or without root |
//!
//! `{dir}` is the work directory, `{prog}` the program, `{stage}` the staged tree, `{musl}` the directory of musl
//! libraries, `{parts}` that of the fixtures' common parts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::damage::Damage;
use crate::directive::{Directive, Fixture};
use crate::launch::Ending;
use crate::part::{Part, PartKind};
use crate::stage;

/// Exit status of a fixture whose checks all passed.
pub const SUCCESS: i32 = 17;

/// A file of lines to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    /// Its name in `fixtures/golden`.
    pub file: String,
    /// What the lines begin with.
    pub prefix: String,
}

/// A need that some machines do not fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A zlib built for musl, and musl's loader.
    Musl,
    /// The superuser.
    Root,
}

impl Need {
    fn parse(value: &str) -> Result<Self> {
        match value {
            "musl" => Ok(Self::Musl),
            "root" => Ok(Self::Root),
            _ => bail!("nothing is known of {value}"),
        }
    }
}

/// One variant of a fixture, ready to be built.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name of fixture and variant: `native/zlib/now`.
    pub name: String,
    /// Source of the program.
    pub source: PathBuf,
    /// Libraries, in the order in which they are built and linked.
    pub parts: Vec<Part>,
    /// Second names: link and target.
    pub symlinks: Vec<(String, String)>,
    /// Compiler flags of program and libraries.
    pub flags: Vec<String>,
    /// Compiler flags of the program.
    pub program_flags: Vec<String>,
    /// Linker arguments after the libraries.
    pub link: Vec<String>,
    /// Where the libraries are looked for.
    pub rpath: Option<String>,
    /// Paths of files of the staged tree that the work directory is to have too, if it is to be an installation.
    pub installed: Option<Vec<String>>,
    /// Files to break.
    pub damages: Vec<(String, Damage)>,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// The program's whole environment.
    pub env: Vec<(String, String)>,
    /// RLIMIT_STACK in bytes.
    pub rlimit_stack: Option<u64>,
    /// User and group that the program becomes.
    pub setid: Option<u32>,
    /// How it ends.
    pub ending: Ending,
    /// Lines on standard output.
    pub stdout: Vec<String>,
    /// Lines on standard error.
    pub stderr: Vec<String>,
    /// Lines on standard error among others.
    pub stderr_any: Vec<String>,
    /// Lines to compare with a file.
    pub golden: Option<Golden>,
    /// What the machine must have.
    pub needs: Option<Need>,
}

impl Recipe {
    /// The recipes of a fixture, one for each variant.
    ///
    /// # Errors
    /// A directive is unknown, has a value that it can not have, or contradicts another. The error names file and line.
    pub fn all(fixture: &Fixture) -> Result<Vec<Self>> {
        fixture.variants.iter().map(|variant| Self::of(fixture, variant)).collect()
    }

    /// The recipe of one variant.
    fn of(fixture: &Fixture, variant: &str) -> Result<Self> {
        let separator = if variant.is_empty() { "" } else { "/" };
        let mut recipe = Self {
            name: format!("{}{separator}{variant}", fixture.name),
            source: fixture.path.clone(),
            parts: Vec::new(),
            symlinks: Vec::new(),
            flags: Vec::new(),
            program_flags: Vec::new(),
            link: Vec::new(),
            rpath: Some("{dir}".to_owned()),
            installed: None,
            damages: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            rlimit_stack: None,
            setid: None,
            ending: Ending::Exit(SUCCESS),
            stdout: Vec::new(),
            stderr: Vec::new(),
            stderr_any: Vec::new(),
            golden: None,
            needs: None,
        };
        for directive in fixture.directives_of(variant) {
            let place = || format!("{}:{}: {}", fixture.path.display(), directive.line, directive.key);
            recipe.add(directive).with_context(place)?;
        }
        recipe.check().with_context(|| fixture.path.display().to_string())?;
        Ok(recipe)
    }

    /// Adds one directive.
    fn add(&mut self, directive: &Directive) -> Result<()> {
        let parts = stage::fixtures().join("parts");
        let value = directive.value.replace("{parts}", &parts.to_string_lossy());
        let value = value.as_str();
        let words = || value.split_whitespace().map(str::to_owned);
        match directive.key.as_str() {
            "lib" => self.parts.push(Part::parse(PartKind::Library, value)?),
            "native" => self.parts.push(Part::parse(PartKind::Native, value)?),
            "stub" => self.parts.push(Part::parse(PartKind::Stub, value)?),
            "symlink" => self.symlinks.push(pair(value, ' ')?),
            "flags" => self.flags.extend(words()),
            "program" => self.program_flags.extend(words()),
            "link" => self.link.extend(words()),
            "rpath" => self.rpath = (value != "none").then(|| value.to_owned()),
            "installed" => self.installed.get_or_insert_default().extend(words()),
            "damage" => {
                let (name, fault) = pair(value, ' ')?;
                self.damages.push((name, fault.parse()?));
            }
            "args" => self.args.extend(words()),
            "env" => self.env.push(pair(value, '=')?),
            "rlimit-stack" => self.rlimit_stack = Some(value.parse()?),
            "exit" => self.ending = Ending::Exit(value.parse()?),
            "signal" => self.ending = Ending::Signal(value.parse()?),
            "stdout" => self.stdout.push(value.to_owned()),
            "stderr" => self.stderr.push(value.to_owned()),
            "stderr-any" => self.stderr_any.push(value.to_owned()),
            "golden" => {
                let (file, prefix) = pair(value, ' ')?;
                self.golden = Some(Golden { file, prefix });
            }
            "setid" => self.setid = Some(value.parse()?),
            "needs" => self.needs = Some(Need::parse(value)?),
            _ => bail!("unknown directive"),
        }
        Ok(())
    }

    /// Checks what only all directives together can show.
    fn check(&self) -> Result<()> {
        let some_lines = !self.stderr_any.is_empty() || self.golden.is_some();
        ensure!(
            self.stderr.is_empty() || !some_lines,
            "`stderr` is all lines, `stderr-any` and `golden` are some"
        );
        ensure!(self.setid.is_none() || self.needs == Some(Need::Root), "`setid` needs root");
        for (index, part) in self.parts.iter().enumerate() {
            for need in &part.needs {
                let earlier = self.parts.iter().take(index).any(|other| other.name == *need);
                ensure!(earlier, "{} needs {need}, which is not built before it", part.name);
            }
            ensure!(!part.late || part.kind != PartKind::Stub, "{}: a stub can not be late", part.name);
        }
        for (name, _) in &self.damages {
            let known = name == "{prog}"
                || self.installed.iter().flatten().any(|path| path == name)
                || self.parts.iter().any(|part| part.name == *name);
            ensure!(known, "{name} is to be damaged but not built");
        }
        Ok(())
    }
}

/// Splits a value in two at the first separator.
fn pair(value: &str, separator: char) -> Result<(String, String)> {
    let (left, right) = value.split_once(separator).with_context(|| format!("no `{separator}` in `{value}`"))?;
    Ok((left.trim().to_owned(), right.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Ending, Need, Recipe};
    use crate::damage::Damage;
    use crate::directive::Fixture;

    fn recipes(text: &str) -> anyhow::Result<Vec<Recipe>> {
        Recipe::all(&Fixture::parse("group/name".to_owned(), "group/name.c".into(), text)?)
    }

    #[test]
    fn defaults() {
        let recipe = recipes("int x;").unwrap().remove(0);
        assert_eq!(recipe.name, "group/name");
        assert_eq!(recipe.ending, Ending::Exit(17));
        assert_eq!(recipe.rpath.as_deref(), Some("{dir}"));
        assert!(recipe.parts.is_empty() && recipe.stdout.is_empty() && recipe.stderr.is_empty());
    }

    #[test]
    fn everything_else() {
        let text = "//# variants: x y\n//# signal[y]: 11\n//# env: A=b=c\n//# env: E=\n//# args: 1 2\n//# rpath: none\n\
                    //# needs: musl\n//# golden: f.txt slulrtld: libc: \n//# rlimit-stack: 5\n//# damage: {prog} text\n";
        let [x, y] = recipes(text).unwrap().try_into().unwrap();
        assert_eq!((x.name.as_str(), x.ending), ("group/name/x", Ending::Exit(17)));
        assert_eq!((y.name.as_str(), y.ending), ("group/name/y", Ending::Signal(11)));
        assert_eq!(x.env, [("A".to_owned(), "b=c".to_owned()), ("E".to_owned(), String::new())]);
        assert_eq!(x.args, ["1", "2"]);
        assert_eq!((x.rpath, x.needs, x.rlimit_stack), (None, Some(Need::Musl), Some(5)));
        assert_eq!(x.golden.unwrap().prefix, "slulrtld: libc:");
        assert_eq!(x.damages, [("{prog}".to_owned(), Damage::Text)]);
    }

    #[test]
    fn refused() {
        for text in [
            "//# nonsense: 1",
            "//# exit: x",
            "//# needs: moon",
            "//# lib:",
            "//# lib: one",
            "//# lib: one.so nonsense",
            "//# stub: one.so late",
            "//# lib: one.so needs=two.so\n//# lib: two.so",
            "//# env: A",
            "//# damage: libx.so text",
            "//# lib: libx.so\n//# damage: libx.so nonsense",
            "//# stderr: x\n//# stderr-any: y",
            "//# golden: x",
            "//# setid: 1",
        ] {
            assert!(recipes(text).is_err(), "{text}");
        }
    }
}
