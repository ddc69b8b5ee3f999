//! The tables of a template as they are being written: bytes, strings, versions.
#![forbid(unsafe_code)]

use crate::addr::{RuntimeAddr, from_usize};
use crate::arena::{Arena, List, OutOfMemory};
use crate::elf::{consts, size, sysv_hash};
use crate::version::VersionRef;

/// Address of a table that ld.so will read, and in part write.
pub(super) fn address_of(table: &[u8]) -> RuntimeAddr {
    RuntimeAddr::of(table)
}

/// A table being written.
pub(super) struct Bytes<'a>(pub(super) List<'a, u8>);

impl<'a> Bytes<'a> {
    pub(super) const fn new(arena: &'a Arena) -> Self {
        Self(List::new(arena))
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.0.extend(bytes)
    }

    pub(super) fn half(&mut self, value: u16) -> Result<(), OutOfMemory> {
        self.put(&value.to_le_bytes())
    }

    pub(super) fn word(&mut self, value: u32) -> Result<(), OutOfMemory> {
        self.put(&value.to_le_bytes())
    }

    pub(super) fn xword(&mut self, value: u64) -> Result<(), OutOfMemory> {
        self.put(&value.to_le_bytes())
    }

    /// Fixed in place, aligned for words of any size.
    pub(super) fn finish(self, arena: &'a Arena) -> Result<&'a [u8], OutOfMemory> {
        let table = arena.bytes(self.0.len(), 8)?;
        table.copy_from_slice(&self.0);
        Ok(table)
    }
}

/// DT_STRTAB.
pub(super) struct Strings<'a>(pub(super) Bytes<'a>);

impl Strings<'_> {
    pub(super) fn add(&mut self, string: &[u8]) -> Result<u32, OutOfMemory> {
        let offset = u32::try_from(self.0.0.len()).map_err(|_| OutOfMemory(usize::MAX))?;
        self.0.0.extend(string)?;
        self.0.0.extend(b"\0")?;
        Ok(offset)
    }
}

/// Sizes in the type that the tables use for offsets.
const VERNEED_SIZE: u32 = 16;
const VERNAUX_SIZE: u32 = 16;
static_assertions::const_assert_eq!(VERNEED_SIZE as usize, size::VERNEED);
static_assertions::const_assert_eq!(VERNAUX_SIZE as usize, size::VERNAUX);

/// DT_VERSYM and DT_VERNEED.
pub(super) struct Versions<'a> {
    pub(super) known: List<'a, VersionRef<'a>>,
    pub(super) versym: Bytes<'a>,
}

impl<'a> Versions<'a> {
    /// Index 0 is local and 1 global; needed versions are numbered from here.
    const FIRST: usize = 2;

    pub(super) fn number(index: usize) -> u16 {
        u16::try_from(index.saturating_add(Self::FIRST)).unwrap_or(consts::VERSYM_VERSION)
    }

    pub(super) fn of_symbol(&mut self, version: Option<VersionRef<'a>>) -> Result<(), OutOfMemory> {
        let Some(version) = version else { return self.versym.half(consts::VER_NDX_GLOBAL) };
        let known = self.known.iter().position(|known| *known == version);
        let index = match known {
            Some(index) => index,
            None => {
                self.known.push(version)?;
                self.known.len().saturating_sub(1)
            }
        };
        self.versym.half(Self::number(index))
    }

    /// DT_VERNEED, and the number of files in it.
    pub(super) fn needed(
        &self,
        arena: &'a Arena,
        strings: &mut Strings<'a>,
    ) -> Result<(Bytes<'a>, u64), OutOfMemory> {
        let mut table = Bytes::new(arena);
        let first_of = |index: usize, version: &VersionRef<'_>| {
            !self.known.iter().take(index).any(|earlier| earlier.file == version.file)
        };
        let files = || self.known.iter().enumerate().filter(|(index, version)| first_of(*index, version));
        let count = files().count();
        for (position, (_, VersionRef { file, .. })) in files().enumerate() {
            let versions = || self.known.iter().enumerate().filter(|(_, version)| version.file == *file);
            let aux_count = versions().count();
            let end = aux_count.saturating_mul(size::VERNAUX).saturating_add(size::VERNEED);
            let last = position.saturating_add(1) == count;
            table.half(1)?;
            table.half(u16::try_from(aux_count).unwrap_or(u16::MAX))?;
            table.word(strings.add(file)?)?;
            table.word(VERNEED_SIZE)?;
            table.word(if last { 0 } else { u32::try_from(end).unwrap_or(0) })?;
            for (position, (index, version)) in versions().enumerate() {
                let last = position.saturating_add(1) == aux_count;
                table.word(sysv_hash(version.version))?;
                table.half(consts::VER_FLG_WEAK)?;
                table.half(Self::number(index))?;
                table.word(strings.add(version.version)?)?;
                table.word(if last { 0 } else { VERNAUX_SIZE })?;
            }
        }
        Ok((table, from_usize(count)))
    }
}
