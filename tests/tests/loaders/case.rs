//! A case: its objects, and the loaders that must agree on it.

use std::fmt::Write;

use crate::symbolic::Mark;

/// A compiler, under the name of its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Compiler {
    Gcc,
    Clang,
    /// rustc, which links by gcc.
    Rustc,
}

/// A linker, by its name for the drivers' `-fuse-ld=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Linker {
    Bfd,
    Lld,
    Mold,
}

/// A compiler and a linker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: Linker,
}

/// The toolchain of most Linux distributions.
pub(crate) const GNU: Toolchain = Toolchain { compiler: Compiler::Gcc, linker: Linker::Bfd };

/// The compiler's code for the program's references to libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// PIE with copies of the libraries' data (R_X86_64_COPY), gcc's default.
    Pie,
    /// PIE that goes through the GOT for data and for the addresses of functions.
    PieIndirect,
    /// ET_EXEC, with copies of data and canonical PLT entries.
    Exec,
}

impl Model {
    pub(crate) const ALL: [Self; 3] = [Self::Pie, Self::PieIndirect, Self::Exec];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pie => "pie",
            Self::PieIndirect => "pie-indirect",
            Self::Exec => "exec",
        }
    }

    pub(crate) fn compile(self, compiler: Compiler) -> &'static [&'static str] {
        match (self, compiler) {
            (Self::Pie, Compiler::Gcc) => &["-fPIE"],
            (Self::Pie, Compiler::Clang) => &["-fPIE", "-fdirect-access-external-data"],
            (Self::PieIndirect, Compiler::Gcc) => &["-fPIE", "-mno-direct-extern-access"],
            (Self::PieIndirect, Compiler::Clang) => &["-fPIE", "-fno-direct-access-external-data"],
            (Self::Exec, Compiler::Gcc | Compiler::Clang) => &["-fno-pie"],
            (Self::Pie | Self::PieIndirect, Compiler::Rustc) => &["-Crelocation-model=pie"],
            (Self::Exec, Compiler::Rustc) => &["-Crelocation-model=static"],
        }
    }

    pub(crate) fn link(self) -> &'static str {
        match self {
            Self::Pie | Self::PieIndirect => "-pie",
            Self::Exec => "-no-pie",
        }
    }
}

/// Ways that calls are compiled and bound: their name, and flags for compiler and linker.
pub(crate) const CALLS: [(&str, &[&str], &[&str]); 3] =
    [("lazy", &[], &["-Wl,-z,lazy"]), ("now", &[], &["-Wl,-z,now"]), ("no-plt", &["-fno-plt"], &["-Wl,-z,now"])];

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Library,
    /// A program, linked once for each loader, with a start for that loader's world.
    Program(Model),
    /// A second name of a file: a symbolic link to the object's source.
    Symlink,
    /// The removal of a file.
    Removal,
}

/// The search path of an object for its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunPath {
    /// The work directory, in DT_RUNPATH.
    WorkDirectory,
    None,
    Rpath(&'static str),
    Runpath(&'static str),
}

/// One step of a case: a file that is made of a C source. A later file of the same name replaces the earlier one.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    /// Its file name.
    pub(crate) file: String,
    /// Its source in `sources`, without extension; of a symbolic link, what it points to.
    pub(crate) source: &'static str,
    /// Compiler flags.
    pub(crate) compile: Vec<String>,
    /// Flags for the linker's driver.
    pub(crate) link: Vec<String>,
    /// Files that it is linked with, in this order.
    pub(crate) needs: Vec<String>,
    /// The versions that it defines, as the text of a version script.
    pub(crate) versions: Option<&'static str>,
    pub(crate) run_path: RunPath,
    /// Whether and how symbolic binding is asked for in the finished file.
    pub(crate) symbolic: Option<Mark>,
}

impl Object {
    fn new(kind: Kind, file: String, source: &'static str) -> Self {
        let (compile, link, needs, run_path) = (Vec::new(), Vec::new(), Vec::new(), RunPath::WorkDirectory);
        Self { kind, file, source, compile, link, needs, versions: None, run_path, symbolic: None }
    }

    /// A library in C: `libt<name>.so`.
    pub(crate) fn library(name: impl ToString, source: &'static str) -> Self {
        Self::rust_library(name, source).compile("-DLIBRARY")
    }

    /// A library in Rust: `libt<name>.so`. The crate type takes the place of `-DLIBRARY`.
    pub(crate) fn rust_library(name: impl ToString, source: &'static str) -> Self {
        Self::new(Kind::Library, library_file(name), source)
    }

    pub(crate) fn program(model: Model, source: &'static str) -> Self {
        Self::new(Kind::Program(model), "program".to_owned(), source)
    }

    /// `file` becomes another name of `target`.
    pub(crate) fn symlink(file: &str, target: &'static str) -> Self {
        Self::new(Kind::Symlink, file.to_owned(), target)
    }

    pub(crate) fn removal(file: &str) -> Self {
        Self::new(Kind::Removal, file.to_owned(), "")
    }

    pub(crate) fn compile(mut self, flag: impl ToString) -> Self {
        self.compile.push(flag.to_string());
        self
    }

    pub(crate) fn link(mut self, flag: impl ToString) -> Self {
        self.link.push(flag.to_string());
        self
    }

    /// Adds a dimension's flags for compiler and linker.
    pub(crate) fn with(mut self, compile: &[&str], link: &[&str]) -> Self {
        self.compile.extend(compile.iter().map(ToString::to_string));
        self.link.extend(link.iter().map(ToString::to_string));
        self
    }

    /// Links it with these libraries.
    pub(crate) fn needs<N: ToString>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.needs.extend(names.into_iter().map(library_file));
        self
    }

    pub(crate) fn versions(mut self, script: &'static str) -> Self {
        self.versions = Some(script);
        self
    }

    pub(crate) fn run_path(mut self, run_path: RunPath) -> Self {
        self.run_path = run_path;
        self
    }

    /// Puts the object into a directory of the work directory.
    pub(crate) fn inside(mut self, directory: impl ToString) -> Self {
        self.file = format!("{}/{}", directory.to_string(), self.file);
        self
    }

    pub(crate) fn symbolic(mut self, how: Option<Mark>) -> Self {
        self.symbolic = how;
        self
    }
}

/// File name of a library.
pub(crate) fn library_file(name: impl ToString) -> String {
    format!("libt{}.so", name.to_string())
}

/// The loaders whose outcome slulrtld's must equal, to the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// glibc and musl.
    All,
    /// glibc; the reason not to compare with musl.
    Glibc(&'static str),
    /// glibc; and musl in any order of the same lines, for this reason.
    GlibcOrder(&'static str),
    /// musl; the reason not to compare with glibc.
    MuslAlone(&'static str),
}

impl Agreement {
    /// The reason for which these are not all loaders, if they are not.
    pub(crate) fn why_not_all(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Glibc(why) | Self::GlibcOrder(why) | Self::MuslAlone(why) => Some(why),
        }
    }
}

/// One case of the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) toolchain: Toolchain,
    pub(crate) objects: Vec<Object>,
    /// The program's environment; `{dir}` is the work directory.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) agreement: Agreement,
    /// Whether the loaders must refuse it, with status 127 and no output of the program.
    pub(crate) refused: bool,
    /// Pairs of lines: the first must come before the second under each loader.
    pub(crate) before: Vec<(String, String)>,
    /// Expected output, if the other loaders' output is not the only reference.
    pub(crate) says: Option<&'static str>,
}

impl Case {
    pub(crate) fn new(name: impl ToString, agreement: Agreement, objects: Vec<Object>) -> Self {
        Self {
            name: name.to_string(),
            toolchain: GNU,
            objects,
            env: Vec::new(),
            agreement,
            refused: false,
            before: Vec::new(),
            says: None,
        }
    }

    pub(crate) fn refused(mut self) -> Self {
        self.refused = true;
        self
    }
}

/// All orders of the numbers 1, 2 and 3.
pub(crate) const ORDERS: [[usize; 3]; 6] = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];

/// Digits as a word.
pub(crate) fn word(numbers: &[usize]) -> String {
    let mut word = String::new();
    for number in numbers {
        // Writing to a String does not fail.
        let _ = write!(word, "{number}");
    }
    word
}
