//! The loader's own command line: `runslul [options] program [args...]`, or the loader by its own name.
#![forbid(unsafe_code)]

/// Printed for `--help`.
pub const HELP: &str = "\
Usage: runslul [options] program [arguments...]
Runs a program that carries no libc, as if its PT_INTERP named this loader.

  --list               say what the program, or library, would have loaded; run nothing
  --verify             load and relocate the program, or library, and say how that went; run nothing
  --library-path PATH  search libc-free libraries there instead of in LD_LIBRARY_PATH, which native ones go by
  --argv0 STRING       what the program sees as its argv[0]
  --exec-fd N          the program is open as descriptor N; it is closed
  --help               this text
  --version            version of the loader
  --                   what follows is the program

Variables: LD_LIBRARY_PATH, LD_SLUL_DEBUG (=help says of what), LD_SLUL_DEBUG_OUTPUT, LD_SLUL_EAGER_LOAD_LIBC,
LD_SLUL_SLOW_RELIABLE_LIBC_LOADING, LD_BIND_NOW, LD_TRACE_LOADED_OBJECTS, LD_SHOW_AUXV.
";

/// The meaning of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLine<'c> {
    /// Print [`HELP`].
    Help,
    /// Print the loader's version.
    Version,
    /// Run a program, or take the first steps towards it.
    RunRequest(RunRequest<'c>),
}

/// A program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRequest<'c> {
    /// Index in argv of the program's path.
    pub program: usize,
    /// The open descriptor of the program's file, if the loader was given one.
    pub handed: Option<Handed>,
    /// Number of arguments that belong to the loader, from `argv[0]` on.
    pub dropped: usize,
    /// Value of `--library-path`.
    pub library_path: Option<&'c [u8]>,
    /// Index in argv of the string that the program sees as its `argv[0]`.
    pub argv0: usize,
    /// The last step to take.
    pub until: Until,
}

/// The descriptor of an open program, by its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// From the command line: `--exec-fd`.
    ByUser(u32),
    /// From rt0, the part of the program that executes the loader in its place.
    ByProgram(u32),
    /// From the kernel, for binfmt_misc.
    ByKernel(u32),
}

impl Handed {
    /// The descriptor.
    #[must_use]
    pub const fn descriptor(self) -> u32 {
        match self {
            Self::ByUser(descriptor) | Self::ByProgram(descriptor) | Self::ByKernel(descriptor) => descriptor,
        }
    }
}

/// The entries of the auxiliary vector by which the kernel tells a binfmt_misc handler how it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handler {
    /// AT_EXECFD, passed if the registration has the flag `O`.
    pub descriptor: Option<u32>,
    /// Bit 0 of AT_FLAGS: the registration has the flag `P`, and the kernel is Linux 5.12 or later.
    pub keeps_argv0: bool,
}

/// The last step to take with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// `--list`: load all objects.
    Loaded,
    /// `--verify`: load and relocate all objects.
    Relocated,
    /// Run the program to its end.
    Ended,
}

/// A mistake in a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake<'c> {
    /// No program is named.
    NoProgram,
    /// An unknown option.
    Unknown(&'c [u8]),
    /// An option without its value.
    NoValue(&'c [u8]),
    /// A value of `--exec-fd` that is not the number of a descriptor.
    NoDescriptor(&'c [u8]),
}

/// Parses argv, whose first string is the loader's own name, or rt0's marker. Of a repeated option the last counts, as
/// in glibc's ld.so.
///
/// # Errors
/// The first [`Mistake`] in it.
pub fn parse<'c>(argv: impl Iterator<Item = &'c [u8]>, handler: Handler) -> Result<CommandLine<'c>, Mistake<'c>> {
    let mut argv = argv.enumerate();
    let (_, name) = argv.next().unwrap_or_default();
    let mut run =
        RunRequest { program: 1, handed: None, dropped: 1, library_path: None, argv0: 1, until: Until::Ended };
    if let Some(descriptor) = abi::stub::descriptor_of_marker(name) {
        return Ok(CommandLine::RunRequest(RunRequest { handed: Some(Handed::ByProgram(descriptor)), ..run }));
    }
    // Before Linux 5.12 only the registered name shows the flag `P`. argv is then: handler, path, argv[0].
    let keeps_argv0 = handler.keeps_argv0 || name.ends_with(abi::marker::KEEPS_ARGV0.as_bytes());
    if keeps_argv0 || handler.descriptor.is_some() {
        let first = if keeps_argv0 { 2 } else { 1 };
        let handed = handler.descriptor.map(Handed::ByKernel);
        return Ok(CommandLine::RunRequest(RunRequest { handed, dropped: first, argv0: first, ..run }));
    }
    let mut argv0 = None;
    while let Some((index, argument)) = argv.next() {
        let of_program =
            |index| RunRequest { program: index, dropped: index, argv0: argv0.unwrap_or(index), ..run };
        match argument {
            b"--help" => return Ok(CommandLine::Help),
            b"--version" => return Ok(CommandLine::Version),
            b"--list" => run.until = Until::Loaded,
            b"--verify" => run.until = Until::Relocated,
            b"--library-path" => {
                let (_, value) = argv.next().ok_or(Mistake::NoValue(argument))?;
                run.library_path = Some(value);
            }
            b"--argv0" => {
                let (value, _) = argv.next().ok_or(Mistake::NoValue(argument))?;
                argv0 = Some(value);
            }
            b"--exec-fd" => {
                let (_, value) = argv.next().ok_or(Mistake::NoValue(argument))?;
                run.handed = Some(Handed::ByUser(decimal(value).ok_or(Mistake::NoDescriptor(value))?));
            }
            b"--" => {
                let (program, _) = argv.next().ok_or(Mistake::NoProgram)?;
                return Ok(CommandLine::RunRequest(of_program(program)));
            }
            _ if argument.starts_with(b"--") => return Err(Mistake::Unknown(argument)),
            _ => return Ok(CommandLine::RunRequest(of_program(index))),
        }
    }
    Err(Mistake::NoProgram)
}

/// The number that `digits` spell; `None` for anything but decimal digits.
fn decimal(digits: &[u8]) -> Option<u32> {
    let add = |value: u32, &byte: &u8| value.checked_mul(10)?.checked_add(char::from(byte).to_digit(10)?);
    digits.iter().try_fold(0, add).filter(|_| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, Handed, Handler, Mistake, RunRequest, Until, parse};

    const RUN: RunRequest<'static> =
        RunRequest { program: 1, handed: None, dropped: 1, library_path: None, argv0: 1, until: Until::Ended };

    fn handled<'c>(argv: &[&'c str], handler: Handler) -> Result<CommandLine<'c>, Mistake<'c>> {
        parse(argv.iter().map(|argument| argument.as_bytes()), handler)
    }

    fn parsed<'c>(argv: &[&'c str]) -> Result<CommandLine<'c>, Mistake<'c>> {
        handled(argv, Handler::default())
    }

    #[test]
    fn options_end_at_the_program() {
        assert_eq!(parsed(&["ld", "prog", "--help"]), Ok(CommandLine::RunRequest(RUN)));
        let run = RunRequest { program: 2, dropped: 2, argv0: 2, ..RUN };
        assert_eq!(parsed(&["ld", "--", "--help"]), Ok(CommandLine::RunRequest(run)));
        assert_eq!(parsed(&["ld", "-x"]), Ok(CommandLine::RunRequest(RUN)), "a program may be called that");
        let run = RunRequest { program: 5, dropped: 5, library_path: Some(b"/a"), argv0: 4, ..RUN };
        assert_eq!(
            parsed(&["ld", "--library-path", "/a", "--argv0", "me", "prog"]),
            Ok(CommandLine::RunRequest(run))
        );
        assert_eq!(parsed(&["ld", "--argv0", "x", "--version"]), Ok(CommandLine::Version));
    }

    #[test]
    fn mistakes_are_told_apart() {
        assert_eq!(parsed(&[]), Err(Mistake::NoProgram));
        assert_eq!(parsed(&["ld"]), Err(Mistake::NoProgram));
        assert_eq!(parsed(&["ld", "--"]), Err(Mistake::NoProgram));
        assert_eq!(parsed(&["ld", "--argv0"]), Err(Mistake::NoValue(b"--argv0")));
        assert_eq!(parsed(&["ld", "--exec-fd", "x", "prog"]), Err(Mistake::NoDescriptor(b"x")));
        assert_eq!(parsed(&["ld", "--exec-fd", "-1", "prog"]), Err(Mistake::NoDescriptor(b"-1")));
        assert_eq!(parsed(&["ld", "--nonsense", "prog"]), Err(Mistake::Unknown(b"--nonsense")));
    }
    #[test]
    fn programs_that_are_handed_over() {
        let run = RunRequest { program: 3, dropped: 3, argv0: 3, handed: Some(Handed::ByUser(7)), ..RUN };
        assert_eq!(parsed(&["ld", "--exec-fd", "7", "prog", "x"]), Ok(CommandLine::RunRequest(run)));
        let run = RunRequest { handed: Some(Handed::ByProgram(0x1f)), ..RUN };
        assert_eq!(parsed(&["@00001f", "--help"]), Ok(CommandLine::RunRequest(run)));
        let by_kernel = Handler { descriptor: Some(5), keeps_argv0: false };
        let run = RunRequest { handed: Some(Handed::ByKernel(5)), ..RUN };
        assert_eq!(handled(&["handler", "/prog", "--help"], by_kernel), Ok(CommandLine::RunRequest(run)));
        let run = RunRequest { dropped: 2, argv0: 2, ..run };
        let keeping = Handler { keeps_argv0: true, ..by_kernel };
        assert_eq!(handled(&["handler", "/prog", "me", "x"], keeping), Ok(CommandLine::RunRequest(run)));
        assert_eq!(handled(&["/slulrtld-binfmt-P", "/prog", "me"], by_kernel), Ok(CommandLine::RunRequest(run)));
        let run = RunRequest { handed: None, ..run };
        assert_eq!(parsed(&["/slulrtld-binfmt-P", "/prog", "me"]), Ok(CommandLine::RunRequest(run)));
    }
}
