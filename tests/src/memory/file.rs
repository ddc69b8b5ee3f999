//! A generated file, and the layout of all of them.
//!
//! Every file has the same five PT_LOAD segments, so that tests can name addresses. They lie close together in the
//! file, so that a random fault rarely hits a byte without meaning:
//!
//! | segment | vaddr | holds |
//! |---|---|---|
//! | R | 0 | file header, program headers, ABI note |
//! | RX | [`TEXT`] | code |
//! | RW | [`GOT`] | GOT, image of PT_TLS, init and fini arrays, PT_DYNAMIC: all of it RELRO |
//! | RW | [`DATA`] | words, then zeros from [`BSS`] on to [`BSS_END`] |
//! | R | [`TABLES`] | symbols, strings, hash table, versions, relocations |

use rtld::elf::consts;

/// The code.
pub const TEXT: u64 = 0x1400;
/// First of sixteen words that are read-only after sealing.
pub const GOT: u64 = 0x2480;
/// Image of PT_TLS.
pub const TLS: u64 = GOT + 0x80;
/// DT_INIT_ARRAY, up to eight words.
pub const INIT_ARRAY: u64 = TLS + 0x40;
/// DT_FINI_ARRAY, up to eight words.
pub const FINI_ARRAY: u64 = INIT_ARRAY + 0x40;
/// PT_DYNAMIC.
pub const DYNAMIC: u64 = FINI_ARRAY + 0x40;
/// First of sixteen words that stay writable.
pub const DATA: u64 = 0x3800;
/// First byte of the zeros after those words.
pub const BSS: u64 = DATA + 0x80;
/// End of the zeros.
pub const BSS_END: u64 = 0x4900;
/// Symbols, strings, hash table, versions and relocations.
pub const TABLES: u64 = 0x5880;

/// The note.
pub(crate) const NOTE: u64 = 0x3c0;
/// End of the first segment.
pub(crate) const HEAD_END: u64 = 0x400;
/// Size of the code.
pub(crate) const TEXT_SIZE: u64 = 0x40;
/// End of the room for PT_DYNAMIC.
pub(crate) const DYNAMIC_END: u64 = 0x2800;
/// End of RELRO, a page's end.
pub(crate) const RELRO_END: u64 = 0x3000;
/// Size of a page in bytes.
pub(crate) const PAGE: u64 = 0x1000;

/// Position in a file of the first program header.
pub const PHDRS: usize = 64;
/// Size of a program header.
pub const PHDR: usize = 56;

/// Position of `e_machine`.
pub const E_MACHINE: usize = 18;
/// Position of `e_phnum`.
pub const E_PHNUM: usize = 56;

/// Positions within a program header.
pub mod phdr {
    /// Position of `p_flags`.
    pub const FLAGS: usize = 4;
    /// Position of `p_offset`.
    pub const OFFSET: usize = 8;
    /// Position of `p_vaddr`.
    pub const VADDR: usize = 16;
    /// Position of `p_filesz`.
    pub const FILESZ: usize = 32;
    /// Position of `p_memsz`.
    pub const MEMSZ: usize = 40;
    /// Position of `p_align`.
    pub const ALIGN: usize = 48;
}

/// A file. It is sound when it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

impl Elf {
    /// Overwrites bytes at a position in the file.
    #[must_use]
    pub fn with(mut self, position: usize, bytes: &[u8]) -> Self {
        self.write(position, bytes);
        self
    }

    /// Overwrites a word at an address.
    #[must_use]
    pub fn with_word(mut self, vaddr: u64, value: u64) -> Self {
        self.put(vaddr, &value.to_le_bytes());
        self
    }

    /// Overwrites a field of program header `number` (from 0).
    #[must_use]
    pub fn with_phdr(self, number: usize, field: usize, value: u64) -> Self {
        let position = PHDRS + number * PHDR + field;
        match field {
            phdr::FLAGS => self.with(position, value.to_le_bytes().get(..4).unwrap_or_default()),
            _ => self.with(position, &value.to_le_bytes()),
        }
    }

    /// Overwrites the value of an entry of PT_DYNAMIC.
    #[must_use]
    pub fn with_entry(self, tag: u64, value: u64) -> Self {
        match self.entry(tag) {
            Some((at, _)) => self.with_word(at + 8, value),
            None => self,
        }
    }

    /// Overwrites the tag of an entry of PT_DYNAMIC.
    #[must_use]
    pub fn with_tag(self, tag: u64, other: u64) -> Self {
        match self.entry(tag) {
            Some((at, _)) => self.with_word(at, other),
            None => self,
        }
    }

    /// Value of an entry of PT_DYNAMIC.
    #[must_use]
    pub fn value(&self, tag: u64) -> Option<u64> {
        self.entry(tag).map(|(_, value)| value)
    }

    fn entry(&self, tag: u64) -> Option<(u64, u64)> {
        let entries = (DYNAMIC..).step_by(16).map_while(|at| Some((at, self.word(at)?, self.word(at + 8)?)));
        let mut entries = entries.take_while(|&(_, found, _)| found != consts::DT_NULL);
        entries.find(|&(_, found, _)| found == tag).map(|(at, _, value)| (at, value))
    }

    fn word(&self, vaddr: u64) -> Option<u64> {
        let start = usize::try_from(offset(vaddr)).ok()?;
        let bytes = self.bytes.get(start..start.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn put(&mut self, vaddr: u64, bytes: &[u8]) {
        self.write(usize::try_from(offset(vaddr)).unwrap_or(usize::MAX), bytes);
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(position..end) {
            place.copy_from_slice(bytes);
        }
    }

    /// Adds a table to the last segment and returns its address.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> u64 {
        let vaddr = (length(&self.bytes).max(offset(TABLES)) - offset(TABLES) + TABLES).next_multiple_of(8);
        self.put(vaddr, bytes);
        vaddr
    }
}

/// File offset of an address in this layout.
pub(crate) const fn offset(vaddr: u64) -> u64 {
    if vaddr >= TABLES - TABLES % PAGE { vaddr - (TABLES - TABLES % PAGE) } else { vaddr % PAGE }
}

/// Number of values.
pub(crate) fn length<T>(values: &[T]) -> u64 {
    u64::try_from(values.len()).unwrap_or(u64::MAX)
}
