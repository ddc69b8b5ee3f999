//! The tables of a template as they are being written: words, strings, versions.
#![forbid(unsafe_code)]

use crate::addr::{RuntimeAddr, from_usize, to_usize};
use crate::arena::{Arena, List, OutOfMemory};
use crate::elf::{consts, size, sysv_hash};
use crate::version::VersionRef;

/// A table being written, of structures that are made of words, into room of the size that it comes to.
pub(super) struct Words<'a> {
    room: &'a mut [u64],
    len: usize,
}

impl<'a> Words<'a> {
    /// With room for `count` structures of `size` bytes.
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

    /// Where ld.so will read it, and in part write.
    pub(super) fn address(&self) -> RuntimeAddr {
        RuntimeAddr::of(self.room.as_ptr())
    }

    /// Size in bytes of what has been written.
    pub(super) fn size(&self) -> u64 {
        from_usize(self.len) << 3
    }

    /// The whole of it.
    pub(super) fn finish(self) -> &'a [u64] {
        self.room
    }

    /// How many structures of so many bytes that is.
    pub(super) fn count(&self, size: usize) -> usize {
        to_usize(self.size()).checked_div(size).unwrap_or(0)
    }
}

/// Two numbers of 32 bits, in the order in which they stand in memory.
pub(super) fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// DT_STRTAB.
pub(super) struct Strings<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Strings<'a> {
    /// With room for so many bytes.
    pub(super) fn new(arena: &'a Arena, size: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { room: arena.bytes(size, 1)?, len: 0 })
    }

    /// Adds a string, and answers where it begins.
    pub(super) fn add(&mut self, string: &[u8]) -> Result<u32, OutOfMemory> {
        let offset = u32::try_from(self.len).map_err(|_| OutOfMemory(usize::MAX))?;
        let end = self.len.saturating_add(string.len());
        self.room.get_mut(self.len..end).ok_or(OutOfMemory(end))?.copy_from_slice(string);
        // There are zeros from the start.
        self.len = end.saturating_add(1);
        Ok(offset)
    }

    pub(super) fn address(&self) -> RuntimeAddr {
        RuntimeAddr::of(self.room.as_ptr())
    }

    /// Size in bytes, and whether that is what there was room for.
    pub(super) fn size(&self) -> Result<u64, OutOfMemory> {
        if self.len > self.room.len() { Err(OutOfMemory(self.len)) } else { Ok(from_usize(self.len)) }
    }
}

/// Size of a `Verneed` and of a `Vernaux` in bytes, in the type that they have for offsets.
const ENTRY: u32 = 16;
static_assertions::const_assert_eq!(ENTRY as usize, size::VERNEED);
static_assertions::const_assert_eq!(ENTRY as usize, size::VERNAUX);

/// DT_VERSYM and DT_VERNEED.
pub(super) struct Versions<'a> {
    pub(super) known: List<'a, VersionRef<'a>>,
    /// By number of the symbol.
    pub(super) versym: &'a mut [u16],
}

impl<'a> Versions<'a> {
    /// Index 0 is local and 1 global; needed versions are numbered from here.
    const FIRST: usize = 2;

    fn number(index: usize) -> u16 {
        u16::try_from(index.saturating_add(Self::FIRST)).unwrap_or(consts::VERSYM_VERSION)
    }

    /// Gives a symbol its version.
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

    /// DT_VERNEED, and the number of files in it.
    pub(super) fn needed(
        &self,
        arena: &'a Arena,
        strings: &mut Strings<'a>,
    ) -> Result<(Words<'a>, u64), OutOfMemory> {
        let first_of = |index: usize, version: &VersionRef<'_>| {
            !self.known.iter().take(index).any(|earlier| earlier.file == version.file)
        };
        let files = || self.known.iter().enumerate().filter(|(index, version)| first_of(*index, version));
        let count = files().count();
        let mut table = Words::new(arena, count.saturating_add(self.known.len()), size::VERNEED)?;
        for (position, (_, VersionRef { file, .. })) in files().enumerate() {
            let versions = || self.known.iter().enumerate().filter(|(_, version)| version.file == *file);
            let aux_count = u16::try_from(versions().count()).unwrap_or(u16::MAX);
            let end = u32::from(aux_count).saturating_add(1).saturating_mul(ENTRY);
            let last = position.saturating_add(1) == count;
            let next = if last { 0 } else { end };
            let file = strings.add(file)?;
            table.put([pair(u32::from(aux_count) << 16 | 1, file), pair(ENTRY, next)])?;
            for (position, (index, version)) in (1u16..).zip(versions()) {
                let next = if position == aux_count { 0 } else { ENTRY };
                let about = u32::from(Self::number(index)) << 16 | u32::from(consts::VER_FLG_WEAK);
                let name = strings.add(version.version)?;
                table.put([pair(sysv_hash(version.version), about), pair(name, next)])?;
            }
        }
        Ok((table, from_usize(count)))
    }
}
