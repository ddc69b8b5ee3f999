//! What can be wrong, with the numbers, and the text of it.
#![forbid(unsafe_code)]

use core::fmt;

use crate::base::addr::{FileOffset, Vaddr};
use crate::base::arena::OutOfMemory;
use crate::error::{Errno, Escaped, OpenError, SegmentFault, Table};
use crate::machine::{Machine, Native};

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem<'a> {
    /// The file could not be opened.
    Open(Errno),
    /// What has the file's name is not a regular file.
    NotRegular,
    /// The file could not be read.
    Read(Errno),
    /// Output could not be written.
    Write(Errno),
    /// Memory for the object could not be mapped.
    Map(Errno),
    /// The protection of the object's pages could not be changed.
    Protect(Errno),
    /// The loader's own tables do not fit in memory.
    OutOfMemory(OutOfMemory),
    /// The file ends before what its headers promise.
    Truncated {
        /// Where the promised part ends.
        end: FileOffset,
        /// Size of the file in bytes.
        size: u64,
    },
    /// No ELF magic.
    NotElf,
    /// `EI_CLASS` is not ELFCLASS64.
    Class(u8),
    /// `EI_DATA` is not ELFDATA2LSB.
    Encoding(u8),
    /// `e_version` or `EI_VERSION` is not EV_CURRENT.
    Version(u32),
    /// `e_machine` is another machine's.
    Machine(u16),
    /// `e_type` is not ET_DYN.
    Type(u16),
    /// `e_phentsize` or `e_phnum` is not usable.
    ProgramHeaders {
        /// `e_phnum`.
        count: u16,
        /// `e_phentsize` in bytes.
        entry_size: u16,
    },
    /// More PT_LOAD segments than the loader has room for.
    TooManySegments {
        /// How many there is room for.
        limit: usize,
    },
    /// No PT_LOAD with memory in it.
    NoSegments,
    /// A PT_LOAD segment is not usable.
    Segment {
        /// Where it asks to be.
        vaddr: Vaddr,
        /// What is wrong with it.
        fault: SegmentFault,
    },
    /// No PT_DYNAMIC, so nothing to link with.
    NoDynamic,
    /// An address in PT_DYNAMIC without the size that belongs to it, or the other way round.
    HalfTable(Table),
    /// The entry size or total size of a table is wrong.
    TableSize {
        /// Which table.
        table: Table,
        /// The size in bytes that is wrong.
        size: u64,
    },
    /// A table, or an entry of it, is not in readable memory of the object.
    OutsideImage {
        /// Which table.
        table: Table,
        /// Where it is said to be.
        vaddr: Vaddr,
    },
    /// A string offset is outside DT_STRTAB or the string has no end.
    BadString {
        /// Offset in the string table.
        offset: u64,
    },
    /// Something is asked for that the loader does not do; by its name in the specifications.
    Unsupported(&'static str),
    /// A relocation type that the loader does not do.
    Relocation {
        /// Its number.
        r_type: u32,
        /// `r_offset`.
        at: Vaddr,
    },
    /// A relocation would write where the object has no writable memory.
    RelocationOutside {
        /// Its number.
        r_type: u32,
        /// `r_offset`.
        at: Vaddr,
    },
    /// A function that is to be called is not in executable memory.
    NotCode {
        /// What names it.
        what: &'static str,
        /// Where it is said to be.
        vaddr: Vaddr,
    },
    /// No object in scope defines the symbol.
    UndefinedSymbol(&'a [u8]),
    /// A library does not have a version that is needed of it.
    VersionNotFound {
        /// The library.
        file: &'a [u8],
        /// The version.
        version: &'a [u8],
    },
    /// A symbol is found, but of a kind that the relocation can not use.
    SymbolKind {
        /// Its name.
        symbol: &'a [u8],
        /// What stands in the way.
        why: &'static str,
    },
    /// The ABI note asks for a newer loader.
    NewerAbi {
        /// `abi_major` of the note.
        abi_major: u16,
        /// `min_loader` of the note.
        min_loader: u32,
    },
    /// The ABI note has flags that must be understood and are not.
    AbiFlags(u32),
    /// Thread-local storage of the program and its libraries does not fit.
    TlsSize(u64),
    /// Thread-local storage of a library opened at run time does not fit what threads have left for that.
    TlsReserve {
        /// Its size in bytes.
        size: u64,
        /// Its alignment in bytes.
        align: u64,
        /// What is left, in bytes.
        left: u64,
    },
    /// More libraries with thread-local storage were opened at run time than can be.
    TooManyTlsModules {
        /// How many can.
        limit: usize,
    },
    /// What was asked to be opened is native, or nowhere.
    NotLibrary,
    /// What was asked to be closed is not open.
    NotOpen,
    /// RLIMIT_STACK leaves no room for the gap that native libraries need.
    StackTooSmall {
        /// RLIMIT_STACK in bytes.
        limit: u64,
        /// What would be enough, in bytes.
        needed: u64,
    },
    /// There is no libc's ld.so on the machine.
    NoLibc,
    /// A native symbol that no native library defines; with the version that was asked for.
    NativeSymbol {
        /// Its name.
        symbol: &'a [u8],
        /// Its version, empty if none was asked for.
        version: &'a [u8],
    },
    /// The environment forbids bogomapping, and the other way can not be executed.
    UsingLibc(Errno),
    /// The kernel does not let the stack grow as far as RLIMIT_STACK would.
    StackGrowth(u64),
    /// Where the program is can not be told from what the kernel mapped of its headers.
    LoadBias,
    /// The block lacks an entry of the auxiliary vector, by its number, without which no libc starts.
    Auxiliary(u64),
    /// The calling thread's signal mask could not be set.
    SignalMask,
    /// The loader is to run itself as a program.
    LoaderItself,
    /// A file that was sound when it was opened lost its end while it was read.
    CutWhileMapped,
    /// No random bytes for the stack protector.
    NoRandom,
    /// The thread pointer could not be set.
    ThreadPointer,
    /// The program may not be executed.
    Execute(Errno),
    /// The program's PT_INTERP names another loader.
    OtherLoader(&'a [u8]),
    /// The loader was executed as a program, with privileges that its user does not have.
    ExecutedSecurely,
    /// A DT_NEEDED with `$ORIGIN` in it, and nothing tells where its object is.
    UnknownOrigin,
    /// A name in a DT_NEEDED or in a search path that can not be used when AT_SECURE is set.
    InsecureName(&'a [u8]),
}

impl From<OpenError> for Problem<'_> {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Errno(errno) | OpenError::Stat(errno) => Self::Open(errno),
            OpenError::NotRegular => Self::NotRegular,
        }
    }
}

impl From<OutOfMemory> for Problem<'_> {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// A number to be printed: `core` has a function for each type of numbers, and one is enough.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

impl Problem<'_> {
    /// What is wrong with the process, or at run time.
    fn write_process(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TlsReserve { size, align, left } => write!(
                f,
                "thread-local storage of {size} bytes, alignment {align}: running threads have {left} bytes left for it"
            ),
            Self::TooManyTlsModules { limit } => {
                write!(f, "more than {limit} libraries with thread-local storage were opened")
            }
            Self::NotLibrary => f.write_str("no libc-free library of that name was found"),
            Self::NotOpen => f.write_str("not open"),
            Self::StackTooSmall { limit, needed } => write!(
                f,
                "stack too small for native libraries: RLIMIT_STACK is {limit} bytes, {needed} are needed"
            ),
            Self::UsingLibc(errno) => write!(
                f,
                "can not be executed: {errno}; the environment turns bogomapping off, and to run programs that need \
                 libc it has to be installed then"
            ),
            Self::StackGrowth(bytes) => write!(f, "the stack can not grow by {bytes} bytes"),
            Self::Auxiliary(key) => write!(f, "no libc starts without entry {key} of the auxiliary vector"),
            Self::SignalMask => f.write_str("signals could not be blocked, or let through again"),
            Self::LoaderItself => f.write_str("is the loader itself"),
            Self::CutWhileMapped => f.write_str("a file was cut off while it was being loaded"),
            Self::NoRandom => f.write_str("no AT_RANDOM, and getrandom failed"),
            Self::ThreadPointer => f.write_str("the thread pointer could not be set"),
            Self::Execute(errno) => write!(f, "can not be executed: {errno}"),
            Self::OtherLoader(path) => {
                write!(f, "is for another loader, {}: execute it directly", Escaped(path))
            }
            Self::ExecutedSecurely => f.write_str("not run with privileges that are not its own"),
            _ => Err(fmt::Error),
        }
    }

    /// What is wrong with headers.
    fn write_header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotElf => f.write_str("not an ELF file"),
            Self::Class(class) => write!(f, "EI_CLASS is {}, not ELFCLASS64 (2)", wide(class)),
            Self::Encoding(data) => write!(f, "EI_DATA is {}, not ELFDATA2LSB (1)", wide(data)),
            Self::Version(version) => write!(f, "ELF version is {}, not 1", wide(version)),
            Self::Machine(machine) => {
                let (machine, own) = (wide(machine), wide(Native::E_MACHINE));
                write!(f, "e_machine is {machine}, this loader is for {} ({own})", Native::NAME)
            }
            Self::Type(kind) => write!(f, "e_type is {}, not ET_DYN (3)", wide(kind)),
            Self::ProgramHeaders { count, entry_size } => {
                let (count, entry_size) = (wide(count), wide(entry_size));
                write!(f, "program headers not usable: e_phnum {count}, e_phentsize {entry_size}")
            }
            Self::TooManySegments { limit } => write!(f, "more than {limit} PT_LOAD segments"),
            Self::NoSegments => f.write_str("no PT_LOAD segment"),
            Self::Segment { vaddr, fault } => write!(f, "PT_LOAD at {vaddr} {fault}"),
            Self::NoDynamic => f.write_str("no PT_DYNAMIC"),
            Self::NewerAbi { abi_major, min_loader } => write!(
                f,
                "made for ABI {} and loader {}.{}; this loader is {}.{} with ABI {}",
                wide(abi_major),
                wide(min_loader >> 16),
                wide(min_loader & 0xffff),
                wide(abi::note::LOADER_VERSION >> 16),
                wide(abi::note::LOADER_VERSION & 0xffff),
                wide(abi::note::ABI_MAJOR),
            ),
            Self::AbiFlags(flags) => write!(f, "ABI note has unknown mandatory flags {:#x}", wide(flags)),
            _ => self.write_process(f),
        }
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Open(errno) => write!(f, "can not be opened: {errno}"),
            Self::NotRegular => f.write_str("can not be opened: not a regular file"),
            Self::Read(errno) => write!(f, "can not be read: {errno}"),
            Self::Write(errno) => write!(f, "can not be written: {errno}"),
            Self::Map(errno) => write!(f, "can not be mapped: {errno}"),
            Self::Protect(errno) => write!(f, "mprotect failed: {errno}"),
            Self::OutOfMemory(OutOfMemory(bytes)) => write!(f, "no memory for {bytes} bytes of loader tables"),
            Self::Truncated { end, size } => {
                write!(f, "file of {size} bytes ends before {end}, which its headers promise")
            }
            Self::HalfTable(table) => write!(f, "{table} has an address or a size, but not both"),
            Self::TableSize { table, size } => write!(f, "{table} has a wrong size: {size} bytes"),
            Self::OutsideImage { table, vaddr } => write!(f, "{table} outside the image at {vaddr}"),
            Self::BadString { offset } => write!(f, "no string at offset {offset:#x} of DT_STRTAB"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::Relocation { r_type, at } => {
                let name = Native::r_type_name(r_type);
                let open = if name.is_empty() { "" } else { " " };
                write!(f, "relocation type {}{open}{name} at {at} is not supported", wide(r_type))
            }
            Self::RelocationOutside { r_type, at } => {
                write!(f, "relocation type {} at {at}, which is not writable memory of the object", wide(r_type))
            }
            Self::NotCode { what, vaddr } => write!(f, "{what} leads to {vaddr}, where there is no code"),
            Self::UndefinedSymbol(symbol) => write!(f, "undefined symbol: {}", Escaped(symbol)),
            Self::VersionNotFound { file, version } => {
                write!(f, "version {} not found in {}", Escaped(version), Escaped(file))
            }
            Self::SymbolKind { symbol, why } => write!(f, "symbol {}: {why}", Escaped(symbol)),
            Self::TlsSize(bytes) => write!(f, "thread-local storage of {bytes} bytes does not fit"),
            Self::UnknownOrigin => f.write_str("it is not known what $ORIGIN stands for"),
            Self::NoLibc => f.write_str("a native library is needed, but there is no libc to load it with"),
            Self::NativeSymbol { symbol, version: b"" } => {
                write!(f, "undefined symbol: {} (in no native library)", Escaped(symbol))
            }
            Self::NativeSymbol { symbol, version } => {
                let (symbol, version) = (Escaped(symbol), Escaped(version));
                write!(f, "undefined symbol: {symbol}@{version} (in no native library)")
            }
            Self::LoadBias => f.write_str("program headers do not tell where the program is"),
            Self::InsecureName(name) => {
                write!(f, "{}: not a name to follow in a set-id program", Escaped(name))
            }
            _ => self.write_header(f),
        }
    }
}

impl Problem<'_> {
    /// The error number that comes closest, for callers that get nothing else.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match *self {
            Self::Open(errno)
            | Self::Read(errno)
            | Self::Write(errno)
            | Self::Map(errno)
            | Self::Protect(errno) => errno,
            Self::NoLibc => Errno::ENOENT,
            Self::OutOfMemory(_) => Errno::ENOMEM,
            _ => Errno::ENOEXEC,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;
    use std::string::ToString;

    #[test]
    fn every_problem_has_a_text() {
        let problems = [
            Problem::NotElf,
            Problem::Class(1),
            Problem::Encoding(2),
            Problem::Version(0),
            Problem::Machine(3),
            Problem::Type(2),
            Problem::ProgramHeaders { count: 0, entry_size: 56 },
            Problem::TooManySegments { limit: 32 },
            Problem::NoSegments,
            Problem::NoDynamic,
            Problem::NewerAbi { abi_major: 2, min_loader: 0x2_0000 },
            Problem::AbiFlags(4),
        ];
        for problem in problems {
            assert!(!problem.to_string().is_empty());
        }
    }
}
