//! The library and the executable to be broken: made by gcc, with the places without code in them.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use tests::build::run;
use tests::stage;

/// The broken one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Library,
    Executable,
}

impl Which {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Executable => "executable",
        }
    }

    /// Its file name.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Library => "libx.so",
            Self::Executable => "program",
        }
    }
}

/// A sound file.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    /// Ranges in the file: its headers, and the loaded bytes that are not code.
    pub(crate) places: Vec<(usize, usize)>,
}

/// The library and the executable.
#[derive(Debug)]
pub(crate) struct Objects {
    library: Object,
    executable: Object,
}

/// glibc's loader: for comparison.
pub(crate) const GLIBC: &str = abi::libcs::Libc::Gnu.interpreter();

/// gcc's options for both. The files are to be small, with few bytes without meaning.
const FLAGS: [&str; 20] = [
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-nostdlib",
    "-nostartfiles",
    "-fno-tree-loop-distribute-patterns",
    "-fcf-protection=none",
    "-ftls-model=initial-exec",
    "-Wl,--build-id=none",
    "-Wl,--enable-new-dtags",
    "-Wl,-z,lazy",
    "-Wl,-z,relro",
    "-Wl,-z,noseparate-code",
    "-Wl,-z,pack-relative-relocs",
    "-Wl,-s",
];

impl Objects {
    /// Builds them in a directory. The executable finds the library there, and has that PT_INTERP.
    pub(crate) fn build(directory: &Path, interpreter: &Path) -> Result<Self> {
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutants/objects"));
        let gcc = |output: &str| -> Command {
            let mut gcc = Command::new("gcc");
            gcc.args(FLAGS).arg("-I").arg(stage::fixtures());
            gcc.arg("-I").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../abi/include"));
            gcc.arg("-o").arg(directory.join(output)).args(interpreter.ends_with(GLIBC).then_some("-DGLIBC"));
            gcc
        };
        let mut library = gcc(Which::Library.file());
        library.args(["-shared", "-fPIC", "-Wl,-soname,libx.so", "-Wl,--hash-style=both"]);
        library.arg(format!("-Wl,--version-script={}", source.join("library.map").display()));
        run(library.arg(source.join("library.c")))?;
        let mut program = gcc(Which::Executable.file());
        program.args(["-fPIE", "-pie", "-mno-direct-extern-access", "-Wl,--hash-style=gnu", "-Wl,-z,now"]);
        program.arg(format!("-Wl,--dynamic-linker={}", padded(interpreter))).arg("-Wl,-rpath,$ORIGIN");
        program.arg("-L").arg(directory);
        run(program.arg(source.join("program.c")).arg("-l:libx.so"))?;
        let object = |which: Which| Object::read(&directory.join(which.file()));
        Ok(Self { library: object(Which::Library)?, executable: object(Which::Executable)? })
    }

    pub(crate) const fn of(&self, which: Which) -> &Object {
        match which {
            Which::Library => &self.library,
            Which::Executable => &self.executable,
        }
    }
}

impl Object {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let header = FileHeader64::<Endianness>::parse(bytes.as_slice())?;
        let endian = header.endian()?;
        let range = |offset: u64, size: u64| -> Result<(usize, usize)> {
            Ok((usize::try_from(offset)?, usize::try_from(offset + size)?))
        };
        let phdrs = header.program_headers(endian, bytes.as_slice())?;
        ensure!(phdrs.iter().any(|phdr| phdr.p_type(endian) == PT_LOAD), "{} loads nothing", path.display());
        // File header and program headers lie together; most checks are about them.
        let mut places = vec![range(0, 64 + 56 * u64::try_from(phdrs.len())?)?];
        for section in header.sections(endian, bytes.as_slice())?.iter() {
            let (flags, size) = (section.sh_flags(endian), section.sh_size(endian));
            let is_code = flags.contains(SHF_EXECINSTR);
            let is_there = flags.contains(SHF_ALLOC) && section.sh_type(endian) != SHT_NOBITS;
            if is_there && !is_code && size != 0 {
                places.push(range(section.sh_offset(endian), size)?);
            }
        }
        ensure!(places.len() > 8, "{}: {places:?} are few places", path.display());
        Ok(Self { bytes, places })
    }
}

/// Addresses of the sections of a file that hold code.
pub(crate) fn code_of(bytes: &[u8]) -> Result<Vec<Range<u64>>> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let code = sections.iter().filter(|section| section.sh_flags(endian).contains(SHF_EXECINSTR));
    let range = |start: u64, size: u64| start..start.saturating_add(size);
    Ok(code.map(|section| range(section.sh_addr(endian), section.sh_size(endian))).collect())
}

/// A path, padded to 160 characters with slashes: offsets in the files, and so the mutants, are the same in each run.
fn padded(path: &Path) -> String {
    const LENGTH: usize = 160;
    let text = path.to_string_lossy();
    format!("{}{text}", "/".repeat(LENGTH.saturating_sub(text.len())))
}
