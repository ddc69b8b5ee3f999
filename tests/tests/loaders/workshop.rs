//! Cases become files. Object files that several cases use are compiled once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tests::build::run;
use tests::objects::Objects;
use tests::stage::{self, LOADER, Stage};

use crate::case::{Case, Compiler, GNU, Kind, Linker, Model, Object, RunPath, Toolchain};
use crate::symbolic;

/// gcc's options for all C.
const C: [&str; 6] = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding"];

/// Options of the linker for all objects; an object's own flags come after them and override them.
const LINK: [&str; 6] = [
    "-nostdlib",
    "-Wl,--no-as-needed",
    "-Wl,--enable-new-dtags",
    "-Wl,-z,relro",
    "-Wl,--build-id=none",
    "-Wl,--hash-style=gnu",
];

/// A loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loader {
    Slulrtld,
    Glibc,
    Musl,
}

/// glibc's loader.
const GLIBC_LOADER: &str = abi::libcs::Libc::Gnu.interpreter();

/// musl's loader, which is its libc.
pub(crate) const MUSL_LOADER: &str = abi::libcs::Libc::Musl.interpreter();

impl Loader {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slulrtld => "slulrtld",
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        }
    }

    /// Path of the loader, for a program in `dir`.
    fn interpreter(self, dir: &Path) -> PathBuf {
        match self {
            Self::Slulrtld => dir.join(LOADER),
            Self::Glibc => GLIBC_LOADER.into(),
            Self::Musl => MUSL_LOADER.into(),
        }
    }

    /// Path of the program for this loader.
    pub(crate) fn program(self, dir: &Path) -> PathBuf {
        dir.join(format!("program-for-{}", self.name()))
    }
}

/// Source and options of an object file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unit {
    compiler: Compiler,
    source: &'static str,
    flags: Vec<String>,
}

/// Compiles and links, for all cases.
pub(crate) struct Workshop {
    objects: Objects<Unit>,
    include: PathBuf,
}

impl Workshop {
    pub(crate) fn new(stage: &Stage) -> Result<Self> {
        let workshop = Self { objects: Objects::new()?, include: stage.include() };
        let stub = workshop.musl_stub();
        let arguments = vec!["-Wl,-soname,libc.so".to_owned()];
        workshop.link(GNU, Shape::Library, "libc_stub", vec!["-fPIC".to_owned()], arguments, &stub)?;
        Ok(workshop)
    }

    /// The stand-in for musl's libc when programs are linked.
    fn musl_stub(&self) -> PathBuf {
        self.objects.dir().join("musl-stub.so")
    }

    /// Makes all files of a case, with a program for each of these loaders.
    pub(crate) fn build(&self, case: &Case, loaders: &[Loader], dir: &Path) -> Result<()> {
        for object in &case.objects {
            let path = dir.join(&object.file);
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            match object.kind {
                Kind::Library => self.library(case.toolchain, object, dir)?,
                Kind::Program(model) => self.program(case.toolchain, object, model, loaders, dir)?,
                Kind::Symlink => {
                    symlink(object.source, &path).with_context(|| path.display().to_string())?;
                }
                Kind::Removal => fs::remove_file(&path).with_context(|| path.display().to_string())?,
            }
        }
        Ok(())
    }

    /// The object file of a unit.
    fn object(&self, unit: &Unit) -> Result<PathBuf> {
        self.objects.get(unit, unit.source, |output| self.compile(unit, output))
    }

    fn compile(&self, unit: &Unit, output: &Path) -> Result<()> {
        let mut compiler = Command::new(unit.compiler.driver());
        compiler.args(C).args(unit.compiler.flags()).args(&unit.flags);
        compiler.arg("-I").arg(&self.include).arg("-I").arg(stage::fixtures());
        compiler.arg("-c").arg(source_file(unit.source, "c")).arg("-o").arg(output);
        run(&mut compiler)
    }

    fn library(&self, toolchain: Toolchain, object: &Object, dir: &Path) -> Result<()> {
        let output = dir.join(&object.file);
        let mut arguments = search(object, dir);
        if let Some(script) = object.versions {
            let path = dir.join(format!("{}.map", object.file));
            fs::write(&path, script)?;
            arguments.push(format!("-Wl,--version-script={}", path.display()));
        }
        arguments.extend(object.link.iter().cloned().chain(needs(object)));
        let flags = with_own(toolchain.compiler.library(), object);
        self.link(toolchain, Shape::Library, object.source, flags, arguments, &output)?;
        object.symbolic.map_or(Ok(()), |how| symbolic::mark(&output, how))
    }

    /// Links the program for each loader.
    fn program(
        &self,
        toolchain: Toolchain,
        object: &Object,
        model: Model,
        loaders: &[Loader],
        dir: &Path,
    ) -> Result<()> {
        for loader in loaders {
            let source = if *loader == Loader::Slulrtld { "start_slulrtld" } else { "start_libc" };
            let compiler = if toolchain.compiler == Compiler::Rustc { Compiler::Gcc } else { toolchain.compiler };
            let start = self.object(&Unit { compiler, source, flags: vec!["-fPIE".to_owned()] })?;
            let mut arguments = search(object, dir);
            // The loaders' own exports, such as `__tls_get_addr`, are not there when programs are linked.
            arguments.extend([model.link().to_owned(), "-Wl,--allow-shlib-undefined".to_owned()]);
            arguments.push(format!("-Wl,--dynamic-linker={}", loader.interpreter(dir).display()));
            arguments.push(start.display().to_string());
            arguments.extend(object.link.iter().cloned().chain(needs(object)));
            match loader {
                Loader::Slulrtld => {}
                Loader::Glibc => arguments.push("-l:libc.so.6".to_owned()),
                Loader::Musl => arguments.push(self.musl_stub().display().to_string()),
            }
            let flags = with_own(model.compile(toolchain.compiler), object);
            self.link(toolchain, Shape::Program, object.source, flags, arguments, &loader.program(dir))?;
        }
        Ok(())
    }

    /// Links one object file, with further arguments for the linker.
    fn link(
        &self,
        toolchain: Toolchain,
        shape: Shape,
        source: &'static str,
        flags: Vec<String>,
        arguments: Vec<String>,
        output: &Path,
    ) -> Result<()> {
        let linker = format!("-fuse-ld={}", toolchain.linker.name());
        let compiler = toolchain.compiler;
        let mut command = Command::new(compiler.driver());
        if compiler == Compiler::Rustc {
            let crate_type = if shape == Shape::Library { "cdylib" } else { "bin" };
            command.args(compiler.flags()).args(["--crate-type", crate_type]).args(flags);
            command.arg(source_file(source, "rs"));
            let for_linker = [linker].into_iter().chain(LINK.map(str::to_owned)).chain(arguments);
            command.args(for_linker.map(|argument| format!("-Clink-arg={argument}")));
        } else {
            let shared = (shape == Shape::Library).then_some("-shared");
            let compiled = self.object(&Unit { compiler, source, flags })?;
            command.arg(linker).args(LINK).args(shared).arg(compiled).args(arguments);
        }
        run(command.arg("-o").arg(output))
    }
}

/// The kinds of linked files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Library,
    Program,
}

impl Compiler {
    pub(crate) fn driver(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
            Self::Clang => "clang",
            Self::Rustc => "rustc",
        }
    }

    /// The compiler's options for libraries.
    fn library(self) -> &'static [&'static str] {
        match self {
            Self::Gcc | Self::Clang => &["-fPIC"],
            Self::Rustc => &["-Crelocation-model=pic"],
        }
    }

    /// The compiler's options for all objects, so that none calls a libc.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Gcc => &["-fno-stack-protector", "-fno-tree-loop-distribute-patterns"],
            Self::Clang => &["-fno-stack-protector", "-fsemantic-interposition"],
            Self::Rustc => {
                &["--edition=2024", "-Cpanic=abort", "-Copt-level=2", "-Clinker=gcc", "-Clink-arg=-nostartfiles"]
            }
        }
    }
}

impl Linker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bfd => "bfd",
            Self::Lld => "lld",
            Self::Mold => "mold",
        }
    }
}

/// A model's flags and an object's own.
fn with_own(flags: &[&str], object: &Object) -> Vec<String> {
    flags.iter().map(ToString::to_string).chain(object.compile.iter().cloned()).collect()
}

/// A source of the matrix.
fn source_file(name: &str, extension: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loaders/sources")).join(name).with_extension(extension)
}

/// Search paths of the linker, and of the loader at run time.
fn search(object: &Object, dir: &Path) -> Vec<String> {
    let dir = dir.display();
    let mut arguments = vec![format!("-L{dir}"), format!("-Wl,-rpath-link,{dir}")];
    match object.run_path {
        RunPath::WorkDirectory => arguments.push(format!("-Wl,-rpath,{dir}")),
        RunPath::None => {}
        RunPath::Rpath(path) => arguments.push(format!("-Wl,--disable-new-dtags,-rpath,{path}")),
        RunPath::Runpath(path) => arguments.push(format!("-Wl,-rpath,{path}")),
    }
    arguments
}

fn needs(object: &Object) -> impl Iterator<Item = String> {
    object.needs.iter().map(|file| format!("-l:{file}"))
}
