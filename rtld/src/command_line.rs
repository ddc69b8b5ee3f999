//! The loader's own command line: `runslul [options] program [args...]`, or the loader by its own name.
#![forbid(unsafe_code)]

/// Printed for `--help`.
pub const HELP: &str = "\
Usage: runslul [options] program [arguments...]
Runs a program that carries no libc, as if its PT_INTERP named this loader.

  --list               say what the program, or library, would have loaded; run nothing
  --verify             load and relocate the program, or library, and say how that went; run nothing
  --library-path PATH  search libc-free libraries there instead of in LD_LIBRARY_PATH
  --argv0 STRING       what the program sees as its argv[0]
  --help               this text
  --version            version of the loader
  --                   what follows is the program
";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'c> {
    /// To say how the loader is used.
    Help,
    /// To say which loader this is.
    Version,
    /// To run a program, or to go part of the way.
    Run(Run<'c>),
}

/// A program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'c> {
    /// Its index in argv.
    pub program: usize,
    /// Value of `--library-path`.
    pub library_path: Option<&'c [u8]>,
    /// Index in argv of the value of `--argv0`.
    pub argv0: Option<usize>,
    /// How far to go with it.
    pub until: Until,
}

/// How far to go with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// `--list`: until all is loaded.
    Loaded,
    /// `--verify`: until all is relocated.
    Relocated,
    /// Until it ends.
    Ended,
}

/// Why the command line is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake<'c> {
    /// No program is named.
    NoProgram,
    /// An option that there is not.
    Unknown(&'c [u8]),
    /// An option without the value that it takes.
    NoValue(&'c [u8]),
}

/// Parses argv, of which the first is the loader's own name. Of a repeated option the last counts, as with glibc's.
pub fn parse<'c>(argv: impl Iterator<Item = &'c [u8]>) -> Result<Request<'c>, Mistake<'c>> {
    let mut argv = argv.enumerate().skip(1);
    let mut run = Run { program: 0, library_path: None, argv0: None, until: Until::Ended };
    while let Some((index, argument)) = argv.next() {
        match argument {
            b"--help" => return Ok(Request::Help),
            b"--version" => return Ok(Request::Version),
            b"--list" => run.until = Until::Loaded,
            b"--verify" => run.until = Until::Relocated,
            b"--library-path" => {
                let (_, value) = argv.next().ok_or(Mistake::NoValue(argument))?;
                run.library_path = Some(value);
            }
            b"--argv0" => {
                let (value, _) = argv.next().ok_or(Mistake::NoValue(argument))?;
                run.argv0 = Some(value);
            }
            b"--" => {
                let (program, _) = argv.next().ok_or(Mistake::NoProgram)?;
                return Ok(Request::Run(Run { program, ..run }));
            }
            _ if argument.starts_with(b"--") => return Err(Mistake::Unknown(argument)),
            _ => return Ok(Request::Run(Run { program: index, ..run })),
        }
    }
    Err(Mistake::NoProgram)
}

#[cfg(test)]
mod tests {
    use super::Until;
    use super::{Mistake, Request, Run, parse};

    fn parsed<'c>(argv: &[&'c str]) -> Result<Request<'c>, Mistake<'c>> {
        parse(argv.iter().map(|argument| argument.as_bytes()))
    }

    #[test]
    fn options_end_at_the_program() {
        let run = Run { program: 1, library_path: None, argv0: None, until: Until::Ended };
        assert_eq!(parsed(&["ld", "prog", "--help"]), Ok(Request::Run(run)));
        assert_eq!(parsed(&["ld", "--", "--help"]), Ok(Request::Run(Run { program: 2, ..run })));
        assert_eq!(parsed(&["ld", "-x"]), Ok(Request::Run(run)), "a program may be called that");
        let run = Run { program: 5, library_path: Some(b"/a"), argv0: Some(4), until: Until::Ended };
        assert_eq!(parsed(&["ld", "--library-path", "/a", "--argv0", "me", "prog"]), Ok(Request::Run(run)));
        assert_eq!(parsed(&["ld", "--argv0", "x", "--version"]), Ok(Request::Version));
    }

    #[test]
    fn mistakes_are_told_apart() {
        assert_eq!(parsed(&[]), Err(Mistake::NoProgram));
        assert_eq!(parsed(&["ld"]), Err(Mistake::NoProgram));
        assert_eq!(parsed(&["ld", "--"]), Err(Mistake::NoProgram));
        assert_eq!(parsed(&["ld", "--argv0"]), Err(Mistake::NoValue(b"--argv0")));
        assert_eq!(parsed(&["ld", "--nonsense", "prog"]), Err(Mistake::Unknown(b"--nonsense")));
    }
}
