//! The parts of an object that can be wrong: its tables, and the faults of a segment.
#![forbid(unsafe_code)]

/// A part of an object that is found through PT_DYNAMIC or a program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The program headers.
    ProgramHeaders,
    /// PT_DYNAMIC.
    Dynamic,
    /// DT_STRTAB and DT_STRSZ.
    Strings,
    /// DT_SYMTAB.
    Symbols,
    /// DT_GNU_HASH.
    GnuHash,
    /// DT_HASH.
    Hash,
    /// DT_RELA and DT_RELASZ.
    Rela,
    /// DT_JMPREL and DT_PLTRELSZ.
    JmpRel,
    /// DT_RELR and DT_RELRSZ.
    Relr,
    /// DT_INIT_ARRAY and DT_INIT_ARRAYSZ.
    InitArray,
    /// DT_PREINIT_ARRAY and DT_PREINIT_ARRAYSZ.
    PreinitArray,
    /// DT_FINI_ARRAY and DT_FINI_ARRAYSZ.
    FiniArray,
    /// DT_VERSYM.
    Versym,
    /// DT_VERNEED and DT_VERNEEDNUM.
    Verneed,
    /// DT_VERDEF and DT_VERDEFNUM.
    Verdef,
    /// PT_TLS.
    TlsImage,
    /// PT_GNU_RELRO.
    Relro,
    /// PT_NOTE.
    Note,
}

impl Table {
    /// Its name in the specifications.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProgramHeaders => "the program header table",
            Self::Dynamic => "PT_DYNAMIC",
            Self::Strings => "DT_STRTAB",
            Self::Symbols => "DT_SYMTAB",
            Self::GnuHash => "DT_GNU_HASH",
            Self::Hash => "DT_HASH",
            Self::Rela => "DT_RELA",
            Self::JmpRel => "DT_JMPREL",
            Self::Relr => "DT_RELR",
            Self::InitArray => "DT_INIT_ARRAY",
            Self::PreinitArray => "DT_PREINIT_ARRAY",
            Self::FiniArray => "DT_FINI_ARRAY",
            Self::Versym => "DT_VERSYM",
            Self::Verneed => "DT_VERNEED",
            Self::Verdef => "DT_VERDEF",
            Self::TlsImage => "PT_TLS",
            Self::Relro => "PT_GNU_RELRO",
            Self::Note => "PT_NOTE",
        }
    }
}

/// The fault of a PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentFault {
    /// `p_vaddr + p_memsz` or `p_offset + p_filesz` does not fit in 64 bits.
    Wraps,
    /// `p_filesz` is larger than `p_memsz`.
    FileLargerThanMemory,
    /// `p_align` is not a power of two, or `p_vaddr` and `p_offset` differ modulo the page size.
    Misaligned,
    /// It begins before the end of the previous segment.
    Overlaps,
    /// It is writable and executable.
    WritableAndExecutable,
    /// It ends in zeroed bytes within a page of the file, and is not writable.
    ZeroesReadOnly,
}

impl SegmentFault {
    /// The text for the fault, which follows the segment's place in a message.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Wraps => "wraps around",
            Self::FileLargerThanMemory => "has p_filesz larger than p_memsz",
            Self::Misaligned => "is misaligned",
            Self::Overlaps => "is out of order or overlaps the one before it",
            Self::WritableAndExecutable => "is writable and executable",
            Self::ZeroesReadOnly => "ends in zeroed bytes but is not writable",
        }
    }
}
