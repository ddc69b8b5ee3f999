//! The tables of a template while they are written: words, strings, versions.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::elf::version::VersionRef;
use crate::elf::{Phdr, consts, size, sysv_hash};

/// A table of structures made of words, written into memory of its final size.
pub(super) struct WordTable<'a> {
    room: &'a mut [u64],
    len: usize,
}

impl<'a> WordTable<'a> {
    /// A table with room for `count` structures of `size` bytes.
    #[inline(never)]
    pub(super) fn new(arena: &'a Arena, count: usize, size: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { room: arena.slice(count.saturating_mul(size) >> 3, 0)?, len: 0 })
    }

    #[inline(never)]
    pub(super) fn put<const N: usize>(&mut self, words: [u64; N]) -> Result<(), OutOfMemory> {
        let place = self.room.get_mut(self.len..).and_then(<[u64]>::first_chunk_mut);
        *place.ok_or(OutOfMemory(N))? = words.map(u64::to_le);
        self.len = self.len.saturating_add(N);
        Ok(())
    }

    /// Adds a program header of memory: type and flags, vaddr, size, alignment.
    #[inline(never)]
    pub(super) fn header(
        &mut self,
        kind: (u32, u32),
        vaddr: u64,
        size: u64,
        align: u64,
    ) -> Result<(), OutOfMemory> {
        self.header_with_zeros(kind, vaddr, (size, size), align)
    }

    /// Adds a program header with sizes in the file and in memory.
    pub(super) fn header_with_zeros(
        &mut self,
        kind: (u32, u32),
        vaddr: u64,
        sizes: (u64, u64),
        align: u64,
    ) -> Result<(), OutOfMemory> {
        self.put([pair(kind.0, kind.1), 0, vaddr, vaddr, sizes.0, sizes.1, align])
    }

    /// Adds a program header of an object's.
    pub(super) fn copy_header(&mut self, phdr: &Phdr) -> Result<(), OutOfMemory> {
        let rest = [phdr.p_offset, phdr.p_vaddr, phdr.p_paddr, phdr.p_filesz, phdr.p_memsz, phdr.p_align];
        let [offset, vaddr, paddr, file_size, size, align] = rest;
        self.put([pair(phdr.p_type, phdr.p_flags), offset, vaddr, paddr, file_size, size, align])
    }

    /// Address at which ld.so reads the table, and writes parts of it.
    pub(super) fn address(&self) -> RuntimeAddr {
        RuntimeAddr::of(self.room.as_ptr())
    }

    /// Size in bytes of what was written so far.
    pub(super) fn size(&self) -> u64 {
        from_usize(self.len) << 3
    }

    /// The whole table.
    pub(super) fn finish(self) -> &'a [u64] {
        self.room
    }

    /// Number of structures of `size` bytes that were written so far.
    pub(super) fn count(&self, size: usize) -> usize {
        to_usize(self.size()).checked_div(size).unwrap_or(0)
    }
}

/// Two numbers of 32 bits as one word, the first at the lower address.
pub(super) fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// `st_info` of an import. It is weak, because the loader itself reports missing symbols.
pub(super) const fn weak(st_type: u8) -> u8 {
    consts::STB_WEAK << 4 | st_type
}

/// A DT_STRTAB.
pub(super) struct StringTable<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> StringTable<'a> {
    /// A table with room for `size` bytes.
    pub(super) fn new(arena: &'a Arena, size: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { room: arena.bytes(size, 1)?, len: 0 })
    }

    /// Adds a string; returns its offset.
    #[inline(never)]
    pub(super) fn add(&mut self, string: &[u8]) -> Result<u32, OutOfMemory> {
        let offset = u32::try_from(self.len).map_err(|_| OutOfMemory(usize::MAX))?;
        let end = self.len.saturating_add(string.len());
        self.room.get_mut(self.len..end).ok_or(OutOfMemory(end))?.copy_from_slice(string);
        // The memory was zero, so the NUL is there.
        self.len = end.wrapping_add(1);
        Ok(offset)
    }

    pub(super) fn address(&self) -> RuntimeAddr {
        RuntimeAddr::of(self.room.as_ptr())
    }

    /// Size in bytes. Fails if that is more than the room.
    pub(super) fn size(&self) -> Result<u64, OutOfMemory> {
        if self.len > self.room.len() { Err(OutOfMemory(self.len)) } else { Ok(from_usize(self.len)) }
    }
}

/// Size of a `Verneed` and of a `Vernaux` in bytes, in the type that they have for offsets.
const ENTRY: u32 = 16;
static_assertions::const_assert_eq!(ENTRY as usize, size::VERNEED);
static_assertions::const_assert_eq!(ENTRY as usize, size::VERNAUX);

/// A DT_VERSYM, and the versions for DT_VERNEED.
pub(super) struct VersionTables<'a> {
    pub(super) known: List<'a, VersionRef<'a>>,
    /// Version index of each symbol.
    pub(super) versym: &'a mut [u16],
}

impl<'a> VersionTables<'a> {
    /// Index of the first needed version: 0 is local, 1 is global (LSB).
    const FIRST: usize = 2;

    /// Version index of entry `index` of `known`.
    fn number(index: usize) -> u16 {
        u16::try_from(index.saturating_add(Self::FIRST)).unwrap_or(consts::VERSYM_VERSION)
    }

    /// Sets the version of a symbol.
    pub(super) fn set(&mut self, symbol: usize, version: Option<VersionRef<'a>>) -> Result<(), OutOfMemory> {
        let Some(version) = version else { return Ok(()) };
        let known = self.known.iter().position(|known| *known == version);
        let index = match known {
            Some(index) => index,
            None => {
                self.known.push(version)?;
                self.known.len().saturating_sub(1)
            }
        };
        self.versym.get_mut(symbol).into_iter().for_each(|place| *place = Self::number(index).to_le());
        Ok(())
    }

    /// DT_VERNEED, and its number of entries. Each version has an entry for itself, even if several are of one file.
    pub(super) fn needed(
        &self,
        arena: &'a Arena,
        strings: &mut StringTable<'a>,
    ) -> Result<(WordTable<'a>, u64), OutOfMemory> {
        let count = self.known.len();
        let mut table = WordTable::new(arena, count, size::VERNEED.saturating_add(size::VERNAUX))?;
        for (index, VersionRef { file, version }) in self.known.iter().enumerate() {
            let next = if index.wrapping_add(1) == count { 0 } else { ENTRY << 1 };
            // Revision 1, one version.
            table.put([pair(1 << 16 | 1, strings.add(file)?), pair(ENTRY, next)])?;
            let about = u32::from(Self::number(index)) << 16 | u32::from(consts::VER_FLG_WEAK);
            table.put([pair(sysv_hash(version), about), pair(strings.add(version)?, 0)])?;
        }
        Ok((table, from_usize(count)))
    }
}
