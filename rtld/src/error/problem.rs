//! The causes of errors, with their numbers, and their text.
#![forbid(unsafe_code)]

use crate::base::addr::{FileOffset, Vaddr};
use crate::base::arena::OutOfMemory;
use crate::base::errno::{Errno, OpenError};
use crate::base::limits::{NAME_MAX, PATH_MAX};
use crate::base::text::{Sink, Text, displayed};
use crate::error::fault::{SegmentFault, Table};
use crate::machine::{Machine, Native};
use crate::put_words;

/// The cause of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem<'a> {
    /// The file could not be opened.
    Open(Errno),
    /// The path leads to something other than a regular file.
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
    /// The file ends before the last byte that its headers name.
    Truncated {
        /// End of the part that the headers name.
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
    /// `e_machine` is that of another machine.
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
        /// Largest number of segments.
        limit: usize,
    },
    /// No PT_LOAD with memory in it.
    NoSegments,
    /// A PT_LOAD segment is not usable.
    Segment {
        /// Its `p_vaddr`.
        vaddr: Vaddr,
        /// Its fault.
        fault: SegmentFault,
    },
    /// No PT_DYNAMIC, so the object can not be linked.
    NoDynamic,
    /// PT_DYNAMIC has the address of the table without its size, or the size without the address.
    HalfTable(Table),
    /// The entry size or total size of a table is wrong.
    TableSize {
        /// Which table.
        table: Table,
        /// The wrong size, in bytes.
        size: u64,
    },
    /// A table, or an entry of it, is not in readable memory of the object.
    OutsideImage {
        /// Which table.
        table: Table,
        /// Where it is said to be.
        vaddr: Vaddr,
    },
    /// The offset of a string is outside DT_STRTAB, or the string has no NUL.
    BadString {
        /// Offset in the string table.
        offset: u64,
    },
    /// The name of a needed library is longer than the name or path of any file.
    LongName {
        /// Offset in the string table.
        offset: u64,
    },
    /// The long names of symbols have too many bytes in all.
    LongNames {
        /// How often each byte of DT_STRTAB may be a part of them.
        times: u64,
        /// DT_STRSZ in bytes.
        size: u64,
    },
    /// The object asks for a feature that the loader does not have; with its name in the specifications.
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
    /// A function to call is not in executable memory of the object.
    NotCode {
        /// The entry that names the function.
        what: &'static str,
        /// Where it is said to be.
        vaddr: Vaddr,
    },
    /// No object in scope defines the symbol.
    UndefinedSymbol(&'a [u8]),
    /// No object in scope defines a symbol of that version, which a library of this world is to have.
    UndefinedVersion {
        /// The symbol.
        symbol: &'a [u8],
        /// The version of the reference.
        version: &'a [u8],
        /// The library that the reference names, by its name in DT_NEEDED.
        file: &'a [u8],
    },
    /// An ABI note is in no PT_NOTE; with its address.
    StrayNote(Vaddr),
    /// A PLT slot refers to no symbol, which is what linkers write for a name that they were told not to resolve.
    NoSymbol {
        /// Number of the relocation type.
        r_type: u32,
        /// `r_offset`.
        at: Vaddr,
    },
    /// A library does not define a version that an object needs of it.
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
        /// The obstacle, as a predicate of the symbol.
        why: &'static str,
    },
    /// The ABI note asks for a newer loader.
    NewerAbi {
        /// `abi_major` of the note.
        abi_major: u16,
        /// `min_loader` of the note.
        min_loader: u32,
    },
    /// The ABI note has mandatory flags that this loader does not know.
    AbiFlags(u32),
    /// The thread-local storage of the program and its libraries is too large; size in bytes.
    TlsSize(u64),
    /// The thread-local storage of a library opened at run time does not fit the reserve of running threads.
    TlsReserve {
        /// Its size in bytes.
        size: u64,
        /// Its alignment in bytes.
        align: u64,
        /// Bytes that are left in the reserve.
        left: u64,
    },
    /// Initial-exec thread-local storage of a library that is opened has values that other threads can not be given.
    TlsThreads,
    /// The name to open is that of a native library, or of none.
    NotLibrary,
    /// The name to open is that of a library without ABI note and needs, which libc opens if it can.
    Loose,
    /// The library to close is not open.
    NotOpen,
    /// libc is wanted in a process whose memory another one has, too.
    SharedMemory,
    /// libc is wanted in a thread whose thread pointer the program has set.
    ForeignThread {
        /// The thread pointer.
        found: u64,
        /// What the loader has left there; 0 if that is nothing.
        left: u64,
    },
    /// The machine has no ld.so of a libc.
    NoLibc,
    /// A native library is missing.
    NativeLibrary {
        /// The object that needs it.
        needer: &'a [u8],
        /// The directories and files that were searched for it.
        tried: &'a [u8],
    },
    /// The root directory or the mount namespace is not the start's, so libc's files may be anybody's.
    OtherRoot,
    /// Whether it is, the kernel does not tell.
    UnknownRoot(Errno),
    /// Another thread was bringing libc in when the process was forked.
    ForkedMeanwhile,
    /// No native library defines a symbol.
    NativeSymbol {
        /// Its name.
        symbol: &'a [u8],
        /// The version of the reference; empty without one.
        version: &'a [u8],
    },
    /// The environment forbids bogomapping, and `slulrtld-using-libc` can not be executed.
    UsingLibc(Errno),
    /// The kernel does not extend the stack by that many bytes, although RLIMIT_STACK would permit it.
    StackGrowth(u64),
    /// The mapped headers of the program do not tell its load bias.
    LoadBias,
    /// The auxiliary vector lacks an entry that every libc needs to start; with the key.
    Auxiliary(u64),
    /// The calling thread's signal mask could not be set.
    SignalMask,
    /// The program to run is the loader itself.
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
    /// A DT_NEEDED name contains `$ORIGIN`, and the path of its object is unknown.
    UnknownOrigin,
    /// Too many errors at the same time to keep them all.
    TooManyErrors,
    /// A DT_NEEDED name, or a directory of a search path, that must not be used when AT_SECURE is set.
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

/// What to do where libc can not be taken from where it is now.
const BEFORE: &str = "libc is not taken from here; call slul_load_libc() before chroot, pivot_root, setns, unshare or a filter of \
     system calls, or set SLUL_EAGER_LIBC in the ABI note";

impl Text for Problem<'_> {
    #[expect(clippy::too_many_lines, reason = "a line for each problem")]
    fn write(&self, to: &mut dyn Sink) {
        match *self {
            Self::Open(errno) => put_words!(to, "can not be opened: {e}", errno),
            Self::NotRegular => put_words!(to, "can not be opened: not a regular file"),
            Self::Read(errno) => put_words!(to, "can not be read: {e}", errno),
            Self::Write(errno) => put_words!(to, "can not be written: {e}", errno),
            Self::Map(errno) => put_words!(to, "can not be mapped: {e}", errno),
            Self::Protect(errno) => put_words!(to, "mprotect failed: {e}", errno),
            Self::OutOfMemory(OutOfMemory(bytes)) => {
                put_words!(to, "no memory for {} bytes of loader tables", bytes)
            }
            Self::Truncated { end, size } => {
                put_words!(to, "file of {} bytes ends before offset {x}, which its headers promise", size, end.0)
            }
            Self::HalfTable(table) => put_words!(to, "{} has an address or a size, but not both", table.name()),
            Self::TableSize { table, size } => put_words!(to, "{} has a wrong size: {} bytes", table.name(), size),
            Self::OutsideImage { table, vaddr } => {
                put_words!(to, "{} outside the image at vaddr {x}", table.name(), vaddr.0)
            }
            Self::BadString { offset } => put_words!(to, "no string at offset {x} of DT_STRTAB", offset),
            Self::LongName { offset } => put_words!(
                to,
                "DT_NEEDED at offset {x} of DT_STRTAB is longer than a name ({} bytes) or path ({}) can be",
                offset,
                NAME_MAX,
                PATH_MAX.saturating_sub(1)
            ),
            Self::LongNames { times, size } => {
                put_words!(to, "names of symbols are longer in all than {} times DT_STRSZ, {} bytes", times, size)
            }
            Self::Unsupported(what) => put_words!(to, "{} is not supported", what),
            Self::Relocation { r_type, at } => {
                let name = Native::r_type_name(r_type);
                let open = if name.is_empty() { "" } else { " " };
                put_words!(to, "relocation type {}{}{} at vaddr {x} is not supported", r_type, open, name, at.0)
            }
            Self::RelocationOutside { r_type, at } => put_words!(
                to,
                "relocation type {} at vaddr {x}, which is not writable memory of the object",
                r_type,
                at.0
            ),
            Self::NotCode { what, vaddr } => {
                put_words!(to, "{} leads to vaddr {x}, where there is no code", what, vaddr.0)
            }
            Self::UndefinedSymbol(symbol) => put_words!(to, "undefined symbol: {}", symbol),
            Self::UndefinedVersion { symbol, version, file } => {
                put_words!(to, "undefined symbol: {}@{} (not in {})", symbol, version, file)
            }
            Self::StrayNote(at) => {
                put_words!(
                    to,
                    "ABI note at vaddr {x} is in no PT_NOTE: its section must be of type SHT_NOTE",
                    at.0
                )
            }
            Self::NoSymbol { r_type, at } => put_words!(
                to,
                "relocation type {} at vaddr {x} has no symbol: link it without unresolved names",
                r_type,
                at.0
            ),
            Self::VersionNotFound { file, version } => put_words!(to, "version {} not found in {}", version, file),
            Self::SymbolKind { symbol, why } => put_words!(to, "symbol {}: {}", symbol, why),
            Self::TlsSize(bytes) => put_words!(to, "thread-local storage of {} bytes does not fit", bytes),
            Self::UnknownOrigin => put_words!(to, "it is not known what $ORIGIN stands for"),
            Self::NoLibc => put_words!(to, "a native library is needed, but there is no libc to load it with"),
            Self::ForkedMeanwhile => put_words!(to, "forked while another thread was bringing libc in"),
            // Begins as glibc's message does.
            Self::NativeLibrary { needer, tried } => {
                put_words!(to, "cannot open shared object file: not found; {} needs it; tried {}", needer, tried)
            }
            Self::OtherRoot => put_words!(to, "not in the start's root directory or mount namespace: {}", BEFORE),
            Self::UnknownRoot(errno) => put_words!(to, "root directory unknown ({e}): {}", errno, BEFORE),
            Self::NativeSymbol { symbol, version: b"" } => {
                put_words!(to, "undefined symbol: {} (in no native library)", symbol)
            }
            Self::NativeSymbol { symbol, version } => {
                put_words!(to, "undefined symbol: {}@{} (in no native library)", symbol, version)
            }
            Self::LoadBias => put_words!(to, "program headers do not tell where the program is"),
            Self::InsecureName(name) => put_words!(to, "{}: not a name to follow in a set-id program", name),
            Self::TooManyErrors => put_words!(to, "more errors at a time than can be said"),
            Self::NotElf => put_words!(to, "not an ELF file"),
            Self::Class(class) => put_words!(to, "EI_CLASS is {}, not ELFCLASS64 (2)", u32::from(class)),
            Self::Encoding(data) => put_words!(to, "EI_DATA is {}, not ELFDATA2LSB (1)", u32::from(data)),
            Self::Version(version) => put_words!(to, "ELF version is {}, not 1", version),
            Self::Machine(machine) => {
                let (machine, own) = (u32::from(machine), u32::from(Native::E_MACHINE));
                put_words!(to, "e_machine is {}, this loader is for {} ({})", machine, Native::NAME, own)
            }
            Self::Type(kind) => put_words!(to, "e_type is {}, not ET_DYN (3)", u32::from(kind)),
            Self::ProgramHeaders { count, entry_size } => {
                let (count, entry_size) = (u32::from(count), u32::from(entry_size));
                put_words!(to, "program headers not usable: e_phnum {}, e_phentsize {}", count, entry_size)
            }
            Self::TooManySegments { limit } => put_words!(to, "more than {} PT_LOAD segments", limit),
            Self::NoSegments => put_words!(to, "no PT_LOAD segment"),
            Self::Segment { vaddr, fault } => put_words!(to, "PT_LOAD at vaddr {x} {}", vaddr.0, fault.text()),
            Self::NoDynamic => put_words!(to, "no PT_DYNAMIC"),
            Self::NewerAbi { abi_major, min_loader } => put_words!(
                to,
                "made for ABI {} and loader {}.{}; this loader is {}.{} with ABI {}",
                u32::from(abi_major),
                min_loader >> 16,
                min_loader & 0xffff,
                abi::note::LOADER_VERSION >> 16,
                abi::note::LOADER_VERSION & 0xffff,
                u32::from(abi::note::ABI_MAJOR),
            ),
            Self::AbiFlags(flags) => put_words!(to, "ABI note has unknown mandatory flags {x}", flags),
            Self::TlsReserve { size, align, left } => put_words!(
                to,
                "thread-local storage of {} bytes, alignment {}: running threads have {} bytes left for it",
                size,
                align,
                left
            ),
            Self::TlsThreads => put_words!(
                to,
                "initial-exec thread-local storage with initial values, which other threads of the process can not be given"
            ),
            Self::NotLibrary | Self::Loose => put_words!(to, "no libc-free library of that name was found"),
            Self::NotOpen => put_words!(to, "not open"),
            Self::SharedMemory => put_words!(
                to,
                "the first native call is in a child that has its parent's memory (vfork, or clone with CLONE_VM); call \
                 slul_load_libc() before, or have the child made by fork"
            ),
            Self::ForeignThread { found, left } => put_words!(
                to,
                "native functions need the thread pointer that libc sets: it is {x}, set by the program, and was left as \
                 {x}; call slul_load_libc() first, and set back what it leaves for each native call",
                found,
                left
            ),
            Self::UsingLibc(errno) => put_words!(
                to,
                "can not be executed: {e}; the environment turns bogomapping off, and to run programs that need libc it \
                 has to be installed then",
                errno
            ),
            Self::StackGrowth(bytes) => put_words!(to, "the stack can not grow by {} bytes", bytes),
            Self::Auxiliary(key) => put_words!(to, "no libc starts without entry {} of the auxiliary vector", key),
            Self::SignalMask => put_words!(to, "signals could not be blocked, or let through again"),
            Self::LoaderItself => put_words!(to, "is the loader itself"),
            Self::CutWhileMapped => put_words!(to, "a file was cut off while it was being loaded"),
            Self::NoRandom => put_words!(to, "no AT_RANDOM, and getrandom failed"),
            Self::ThreadPointer => put_words!(to, "the thread pointer could not be set"),
            Self::Execute(errno) => put_words!(to, "can not be executed: {e}", errno),
            Self::OtherLoader(path) => put_words!(to, "is for another loader, {}: execute it directly", path),
            Self::ExecutedSecurely => put_words!(to, "not run with privileges that are not its own"),
        }
    }
}

displayed!(Problem<'_>);

impl Problem<'_> {
    /// The nearest error number, for callers that get no more than that.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match *self {
            Self::Open(errno)
            | Self::Read(errno)
            | Self::Write(errno)
            | Self::Map(errno)
            | Self::Protect(errno)
            | Self::UnknownRoot(errno) => errno,
            Self::NoLibc | Self::NativeLibrary { .. } => Errno::ENOENT,
            Self::OutOfMemory(_) => Errno::ENOMEM,
            Self::SharedMemory | Self::ForeignThread { .. } | Self::OtherRoot => Errno::EPERM,
            _ => Errno::ENOEXEC,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;
    use crate::base::errno::Errno;
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
            Problem::OtherRoot,
            Problem::UnknownRoot(Errno::EPERM),
        ];
        for problem in problems {
            assert!(!problem.to_string().is_empty());
        }
    }
}
