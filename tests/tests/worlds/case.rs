//! A case: its files, and the worlds that it is run in.

/// A libc that the worlds share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Libc {
    Gnu,
    Musl,
}

impl Libc {
    pub(crate) const ALL: [Self; 2] = [Self::Gnu, Self::Musl];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Musl => "musl",
        }
    }

    /// The compiler driver whose headers, start files and libraries are this libc's.
    pub(crate) fn driver(self) -> &'static str {
        match self {
            Self::Gnu => "gcc",
            Self::Musl => "musl-gcc",
        }
    }
}

/// A linker, by its name for the driver's `-fuse-ld=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linker {
    Bfd,
    Lld,
    Mold,
}

impl Linker {
    pub(crate) const ALL: [Self; 3] = [Self::Bfd, Self::Lld, Self::Mold];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bfd => "bfd",
            Self::Lld => "lld",
            Self::Mold => "mold",
        }
    }
}

/// A shared object of a case, made of the case's own source with `IN_<name>` defined.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Stem of its file name.
    pub(crate) name: &'static str,
    /// Whether it is made for libc, or is a library without libc: the same file in both worlds.
    pub(crate) native: bool,
    /// Another source than the case's.
    pub(crate) source: Option<&'static str>,
    pub(crate) compile: Vec<String>,
    pub(crate) link: Vec<String>,
    /// Whether the program is linked with it.
    pub(crate) linked: bool,
}

impl Part {
    pub(crate) fn native(name: &'static str) -> Self {
        let (compile, link) = (Vec::new(), Vec::new());
        Self { name, native: true, source: None, compile, link, linked: true }
    }

    pub(crate) fn library(name: &'static str) -> Self {
        Self { native: false, ..Self::native(name) }
    }

    /// Sets another source.
    pub(crate) fn of(self, source: &'static str) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(crate) fn compile(mut self, flags: &[&str]) -> Self {
        self.compile.extend(flags.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn link(mut self, flags: &[&str]) -> Self {
        self.link.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// Does not link the program with it: it is opened, or needed by another part.
    pub(crate) fn apart(self) -> Self {
        Self { linked: false, ..self }
    }

    /// Its file name.
    pub(crate) fn file(&self) -> String {
        format!("{}.so", self.name)
    }
}

/// The reference for the runs under slulrtld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The ordinary executable, line by line.
    Ordinary,
    /// The ordinary executable; in lazy mode these lines come at another place, because native constructors run at the
    /// first call. Each is there once in both.
    Moves(&'static [&'static str]),
    /// The ordinary executable; in lazy mode exactly this output instead, and the reason.
    Lazily(&'static str, &'static str),
    /// An intended difference between the two worlds: this output, this status, and the reason not to compare with the
    /// ordinary executable.
    Says(&'static str, i32, &'static str),
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Its source in `sources`, without extension.
    pub(crate) source: &'static str,
    /// Compiler flags of all its files.
    pub(crate) flags: Vec<String>,
    /// Further compiler flags of the program.
    pub(crate) compile: Vec<String>,
    /// Further linker arguments of the program.
    pub(crate) link: Vec<String>,
    pub(crate) linker: Linker,
    /// Whether the program under slulrtld names no libc in DT_NEEDED.
    pub(crate) names_no_libc: bool,
    /// Whether a program without native libraries gets one, which determines its libc.
    pub(crate) marked: bool,
    pub(crate) parts: Vec<Part>,
    /// Whether native libraries come first in DT_NEEDED under a libc that initialises in that order. slulrtld always
    /// initialises them first; glibc's order is the reverse of DT_NEEDED's.
    pub(crate) native_first: bool,
    /// Features of the program's start file: `OPENS`, `LEAVES`.
    pub(crate) start: Vec<&'static str>,
    /// The whole environment; `{dir}` is the work directory.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) args: Vec<String>,
    pub(crate) reference: Reference,
    /// The reason for which it is not run with musl, if it is not.
    pub(crate) gnu_alone: Option<&'static str>,
    /// Whether it is only run lazily: in eager mode libc is there before the case begins.
    pub(crate) lazily_alone: bool,
    /// Whether it takes long, and is only run on request.
    pub(crate) long: bool,
    /// Runs in each world.
    pub(crate) times: usize,
    /// Files of the case, and relocations that they must have for the case to test its subject.
    pub(crate) has: Vec<(&'static str, &'static str)>,
    /// Files that this machine must have, and the packages that bring them.
    pub(crate) wants: Vec<(&'static str, &'static str)>,
}

impl Case {
    pub(crate) fn new(name: impl ToString, source: &'static str) -> Self {
        Self {
            name: name.to_string(),
            source,
            flags: Vec::new(),
            compile: Vec::new(),
            link: Vec::new(),
            linker: Linker::Bfd,
            names_no_libc: false,
            marked: true,
            parts: Vec::new(),
            native_first: false,
            start: Vec::new(),
            env: Vec::new(),
            args: Vec::new(),
            reference: Reference::Ordinary,
            gnu_alone: None,
            lazily_alone: false,
            long: false,
            times: 1,
            has: Vec::new(),
            wants: Vec::new(),
        }
    }

    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn compile(mut self, flags: &[&str]) -> Self {
        self.compile.extend(flags.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn link(mut self, flags: &[&str]) -> Self {
        self.link.extend(flags.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn linker(self, linker: Linker) -> Self {
        Self { linker, ..self }
    }

    pub(crate) fn names_no_libc(self) -> Self {
        Self { names_no_libc: true, marked: false, ..self }
    }

    pub(crate) fn unmarked(self) -> Self {
        Self { marked: false, ..self }
    }

    pub(crate) fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(crate) fn native_first(self) -> Self {
        Self { native_first: true, ..self }
    }

    /// The program opens libraries: `slul_dlopen` in one world, `dlopen` in the other.
    pub(crate) fn opens(mut self) -> Self {
        self.start.push("-DOPENS");
        self
    }

    /// The program leaves by `slul_exit` in one world, `exit` in the other.
    pub(crate) fn leaves(mut self) -> Self {
        self.start.push("-DLEAVES");
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.args.push(argument.to_owned());
        self
    }

    pub(crate) fn reference(self, reference: Reference) -> Self {
        Self { reference, ..self }
    }

    pub(crate) fn gnu_alone(self, why: &'static str) -> Self {
        Self { gnu_alone: Some(why), ..self }
    }

    pub(crate) fn lazily_alone(self) -> Self {
        Self { lazily_alone: true, ..self }
    }

    pub(crate) fn long(self) -> Self {
        Self { long: true, ..self }
    }

    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    pub(crate) fn has(mut self, file: &'static str, relocation: &'static str) -> Self {
        self.has.push((file, relocation));
        self
    }

    pub(crate) fn wants(mut self, file: &'static str, package: &'static str) -> Self {
        self.wants.push((file, package));
        self
    }
}
