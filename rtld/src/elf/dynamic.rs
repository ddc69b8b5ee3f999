//! PT_DYNAMIC decoded into tables that are known to lie inside the object.
//!
//! The section is decoded once, by value; address and size of a table are checked together. Entries are read one at a
//! time through the [`Image`]: no reference into an object outlives a write to it.
#![forbid(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;

use crate::base::addr::{Vaddr, from_usize};
use crate::elf::gnu_hash::GnuHash;
use crate::elf::plan::Place;
pub use crate::elf::strings::Strings;
use crate::elf::unsupported::unsupported;
use crate::elf::{Decode, Dyn, Rela, Sym, consts};
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// An array of `T` in an object, checked when it was made to lie in readable memory that comes from the file.
pub struct Entries<T> {
    start: Vaddr,
    count: u64,
    kind: PhantomData<T>,
}

// Written by hand: a derived implementation would require the same trait of `T`.
impl<T> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries at vaddr {:#x}", self.count, self.start.0)
    }
}

impl<T> PartialEq for Entries<T> {
    fn eq(&self, other: &Self) -> bool {
        self.start == other.start && self.count == other.count
    }
}

impl<T> Eq for Entries<T> {}

impl<T> Clone for Entries<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Entries<T> {}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { start: Vaddr(0), count: 0, kind: PhantomData }
    }
}

impl<T: Decode> Entries<T> {
    /// The table at `place`. The only constructor of a table with entries.
    ///
    /// # Errors
    /// Naming `table`: [`Problem::TableSize`] if it ends within an entry, [`Problem::OutsideImage`] if it is not
    /// file-backed.
    pub fn check(image: &(impl Image + ?Sized), place: Place, table: Table) -> Result<Self, Failure<'static>> {
        let size = from_usize(T::SIZE);
        if !place.size.is_multiple_of(size) {
            return Err(Problem::TableSize { table, size: place.size }.into());
        }
        if place.size != 0 && image.file_backed(place.vaddr) < place.size {
            return Err(Problem::OutsideImage { table, vaddr: place.vaddr }.into());
        }
        Ok(Self { start: place.vaddr, count: place.size.checked_div(size).unwrap_or(0), kind: PhantomData })
    }

    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Address of entry `index`; `None` beyond the last entry.
    #[must_use]
    #[inline]
    pub fn vaddr(&self, index: u64) -> Option<Vaddr> {
        if index >= self.count {
            return None;
        }
        self.start.checked_add(index.checked_mul(from_usize(T::SIZE))?)
    }

    /// Copies the entries from `index` on into `buffer`, as many as fit, and returns them.
    pub fn copy<'b>(&self, image: &impl Image, index: u64, buffer: &'b mut [T]) -> &'b [T] {
        let count = self.count.saturating_sub(index).min(from_usize(buffer.len()));
        let bytes =
            self.vaddr(index).and_then(|vaddr| image.bytes(vaddr, count.wrapping_mul(from_usize(T::SIZE))));
        let entries = bytes.unwrap_or_default().chunks_exact(T::SIZE).map(T::decode);
        let copied = buffer.iter_mut().zip(entries).map(|(place, entry)| *place = entry).count();
        buffer.get(..copied).unwrap_or_default()
    }

    /// Entry `index`; `None` beyond the last entry.
    #[inline]
    pub fn get(&self, image: &impl Image, index: u64) -> Option<T> {
        image.get(self.vaddr(index)?)
    }

    /// All entries, in order.
    fn iter(&self, image: &(impl Image + ?Sized)) -> impl Iterator<Item = T> {
        let size = self.count.saturating_mul(from_usize(T::SIZE));
        image.bytes(self.start, size).unwrap_or_default().chunks_exact(T::SIZE).map(T::decode)
    }
}

/// DT_SYMTAB. PT_DYNAMIC does not state its size: each access is checked on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbols(Vaddr);

impl Symbols {
    /// Address of symbol `index`, were the table that long; `None` if the address wraps.
    #[must_use]
    pub fn vaddr(&self, index: u32) -> Option<Vaddr> {
        self.0.checked_add(u64::from(index).checked_mul(from_usize(Sym::SIZE))?)
    }

    /// The bytes of symbols 0 to `count - 1`.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if they are not all in readable memory.
    pub fn bytes<'i>(&self, image: &'i impl Image, count: u32) -> Result<&'i [u8], Failure<'static>> {
        let size = u64::from(count).wrapping_mul(from_usize(Sym::SIZE));
        let outside = Problem::OutsideImage { table: Table::Symbols, vaddr: self.0 };
        image.bytes(self.0, size).ok_or_else(|| outside.into())
    }

    /// Symbol `index`.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if it is not in readable memory.
    pub fn get(&self, image: &impl Image, index: u32) -> Result<Sym, Failure<'static>> {
        let outside = Problem::OutsideImage { table: Table::Symbols, vaddr: self.0 };
        image.get(self.vaddr(index).ok_or(outside)?).ok_or_else(|| outside.into())
    }
}

/// The contents of PT_DYNAMIC, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DynamicInfo {
    /// The section itself, up to DT_NULL.
    pub entries: Entries<Dyn>,
    /// DT_STRTAB.
    pub strings: Strings,
    /// DT_SYMTAB.
    pub symbols: Symbols,
    /// DT_GNU_HASH.
    pub gnu_hash: Option<GnuHash>,
    /// DT_HASH.
    pub hash: Option<Vaddr>,
    /// DT_RELA.
    pub rela: Entries<Rela>,
    /// DT_JMPREL.
    pub jmprel: Entries<Rela>,
    /// DT_RELR.
    pub relr: Entries<u64>,
    /// DT_VERSYM.
    pub versym: Option<Vaddr>,
    /// DT_VERNEED: address, and number of files.
    pub verneed: Option<(Vaddr, u64)>,
    /// DT_VERDEF: address, and number of versions.
    pub verdef: Option<(Vaddr, u64)>,
    /// DT_INIT.
    pub init: Option<Vaddr>,
    /// Whether DT_INIT says that the entry is a C function, for a program that has lost its ABI note.
    pub called: bool,
    /// DT_INIT_ARRAY.
    pub init_array: Entries<u64>,
    /// DT_PREINIT_ARRAY. It has a meaning in a program only (gABI).
    pub preinit_array: Entries<u64>,
    /// DT_FINI.
    pub fini: Option<Vaddr>,
    /// DT_FINI_ARRAY.
    pub fini_array: Entries<u64>,
    /// DT_SONAME, an offset in the string table.
    pub soname: Option<u64>,
    /// DT_RPATH, an offset in the string table; `None` if there is a DT_RUNPATH, which replaces it (gABI).
    pub rpath: Option<u64>,
    /// DT_RUNPATH, an offset in the string table.
    pub runpath: Option<u64>,
    /// DT_SYMBOLIC or DF_SYMBOLIC: the object's references are looked up in the object itself first.
    pub symbolic: bool,
    /// DT_FLAGS_1.
    pub flags_1: u64,
    /// DT_BIND_NOW, DF_BIND_NOW or DF_1_NOW: all functions are bound before any is called.
    pub bind_now: bool,
    /// DT_PLTGOT.
    pub plt_got: Option<Vaddr>,
    /// Name of the first entry that asks for something the loader does not do.
    unsupported: Option<&'static str>,
    /// Address of the value of DT_DEBUG, which the loader writes for debuggers.
    pub debug: Option<Vaddr>,
}

/// Address, size and entry size of a table, each once its entry was read.
#[derive(Clone, Copy, Default)]
struct TableParts {
    addr: Option<u64>,
    size: Option<u64>,
    entry: Option<u64>,
}

impl TableParts {
    /// A list of `size` entries, each of which states the distance to the next.
    fn list(self, table: Table) -> Result<Option<(Vaddr, u64)>, Failure<'static>> {
        match (self.addr, self.size) {
            (Some(addr), Some(count)) => Ok(Some((Vaddr(addr), count))),
            (None, None | Some(0)) => Ok(None),
            _ => Err(Problem::HalfTable(table).into()),
        }
    }

    fn table<T: Decode>(self, image: &dyn Image, table: Table) -> Result<Entries<T>, Failure<'static>> {
        if let Some(size) = self.entry.filter(|&entry| entry != from_usize(T::SIZE)) {
            return Err(Problem::TableSize { table, size }.into());
        }
        match (self.addr, self.size) {
            (Some(addr), Some(size)) => Entries::check(image, Place { vaddr: Vaddr(addr), size }, table),
            // Linkers write an address with size 0, or leave one of the two out for an empty table.
            (None, None | Some(0)) => Ok(Entries::default()),
            _ => Err(Problem::HalfTable(table).into()),
        }
    }
}

/// The entries for tables, collected in one pass over the section.
#[derive(Default)]
struct TableEntries {
    strings: TableParts,
    symbols: TableParts,
    rela: TableParts,
    jmprel: TableParts,
    relr: TableParts,
    init_array: TableParts,
    preinit_array: TableParts,
    fini_array: TableParts,
    verneed: TableParts,
    verdef: TableParts,
    versym: Option<u64>,
    gnu_hash: Option<u64>,
}

impl TableEntries {
    fn table_entry(&mut self, tag: u64, value: u64) -> bool {
        let slot = match tag {
            consts::DT_STRTAB => &mut self.strings.addr,
            consts::DT_STRSZ => &mut self.strings.size,
            consts::DT_SYMTAB => &mut self.symbols.addr,
            consts::DT_SYMENT => &mut self.symbols.entry,
            consts::DT_RELA => &mut self.rela.addr,
            consts::DT_RELASZ => &mut self.rela.size,
            consts::DT_RELAENT => &mut self.rela.entry,
            consts::DT_JMPREL => &mut self.jmprel.addr,
            consts::DT_PLTRELSZ => &mut self.jmprel.size,
            consts::DT_RELR => &mut self.relr.addr,
            consts::DT_RELRSZ => &mut self.relr.size,
            consts::DT_RELRENT => &mut self.relr.entry,
            consts::DT_INIT_ARRAY => &mut self.init_array.addr,
            consts::DT_INIT_ARRAYSZ => &mut self.init_array.size,
            consts::DT_PREINIT_ARRAY => &mut self.preinit_array.addr,
            consts::DT_PREINIT_ARRAYSZ => &mut self.preinit_array.size,
            consts::DT_FINI_ARRAY => &mut self.fini_array.addr,
            consts::DT_FINI_ARRAYSZ => &mut self.fini_array.size,
            consts::DT_VERNEED => &mut self.verneed.addr,
            consts::DT_VERNEEDNUM => &mut self.verneed.size,
            consts::DT_VERDEF => &mut self.verdef.addr,
            consts::DT_VERDEFNUM => &mut self.verdef.size,
            consts::DT_VERSYM => &mut self.versym,
            consts::DT_GNU_HASH => &mut self.gnu_hash,
            _ => return false,
        };
        *slot = Some(value);
        true
    }
}

impl DynamicInfo {
    /// Refuses an object that is to run and asks for something the loader does not do.
    ///
    /// # Errors
    /// [`Problem::Unsupported`] with the name, such as `DT_TEXTREL` or `DF_1_INTERPOSE`.
    pub fn require_supported(&self) -> Result<(), Failure<'static>> {
        self.unsupported.map_or(Ok(()), |what| Err(Problem::Unsupported(what).into()))
    }

    /// Whether there is anything to relocate.
    #[must_use]
    pub const fn has_relocations(&self) -> bool {
        !(self.rela.is_empty() && self.jmprel.is_empty() && self.relr.is_empty())
    }

    /// Decodes the PT_DYNAMIC at `place`.
    ///
    /// # Errors
    /// [`Problem::HalfTable`], [`Problem::TableSize`] or [`Problem::OutsideImage`], with the table that is wrong.
    pub fn decode(image: &dyn Image, place: Place) -> Result<Self, Failure<'static>> {
        let mut info = Self::default();
        info.decode_again(image, place)?;
        Ok(info)
    }

    /// Decodes the PT_DYNAMIC at `place` into this value, which may hold another one.
    ///
    /// # Errors
    /// Those of [`DynamicInfo::decode`].
    pub(crate) fn decode_again(&mut self, image: &dyn Image, place: Place) -> Result<(), Failure<'static>> {
        let whole = Place { size: place.size & !0xf, ..place };
        let all = Entries::<Dyn>::check(image, whole, Table::Dynamic)?;
        let info = self;
        *info = Self::default();
        let mut seen = TableEntries::default();
        let mut count = 0;
        for entry in all.iter(image) {
            if entry.d_tag == consts::DT_NULL {
                break;
            }
            info.unsupported = info.unsupported.or(unsupported(&entry));
            if !seen.table_entry(entry.d_tag, entry.d_val) {
                info.plain_entry(&entry, all.vaddr(count));
            }
            count = count.wrapping_add(1);
        }
        info.entries = Entries { start: all.start, count, kind: PhantomData };
        if info.runpath.is_some() {
            info.rpath = None;
        }
        info.tables(image, &seen)
    }

    fn plain_entry(&mut self, entry: &Dyn, vaddr: Option<Vaddr>) {
        let value = entry.d_val;
        let address = (value != 0).then_some(Vaddr(value));
        match entry.d_tag {
            consts::DT_HASH => self.hash = address,
            consts::DT_INIT => {
                self.init = address;
                self.called = value == abi::note::CALL_ENTRY_INIT;
            }
            consts::DT_FINI => self.fini = address,
            consts::DT_SONAME => self.soname = Some(value),
            consts::DT_RPATH => self.rpath = Some(value),
            consts::DT_RUNPATH => self.runpath = Some(value),
            consts::DT_SYMBOLIC => self.symbolic = true,
            consts::DT_FLAGS => {
                self.symbolic |= value & consts::DF_SYMBOLIC != 0;
                self.bind_now |= value & consts::DF_BIND_NOW != 0;
            }
            consts::DT_FLAGS_1 => {
                self.flags_1 = value;
                self.bind_now |= value & consts::DF_1_NOW != 0;
            }
            consts::DT_BIND_NOW => self.bind_now = true,
            consts::DT_PLTGOT => self.plt_got = address,
            consts::DT_DEBUG => self.debug = vaddr.and_then(|vaddr| vaddr.checked_add(8)),
            _ => {}
        }
    }

    fn tables(&mut self, image: &dyn Image, seen: &TableEntries) -> Result<(), Failure<'static>> {
        let strings = seen.strings.table::<Byte>(image, Table::Strings)?;
        self.strings = Strings { start: strings.start, size: strings.count };
        if let Some(size) = seen.symbols.entry.filter(|&entry| entry != from_usize(Sym::SIZE)) {
            return Err(Problem::TableSize { table: Table::Symbols, size }.into());
        }
        let symbols = Vaddr(seen.symbols.addr.unwrap_or(0));
        if seen.symbols.addr.is_some() && !image.holds(symbols, from_usize(Sym::SIZE)) {
            return Err(Problem::OutsideImage { table: Table::Symbols, vaddr: symbols }.into());
        }
        self.symbols = Symbols(symbols);
        self.rela = seen.rela.table(image, Table::Rela)?;
        self.jmprel = seen.jmprel.table(image, Table::JmpRel)?;
        self.relr = seen.relr.table(image, Table::Relr)?;
        self.init_array = seen.init_array.table(image, Table::InitArray)?;
        self.preinit_array = seen.preinit_array.table(image, Table::PreinitArray)?;
        self.fini_array = seen.fini_array.table(image, Table::FiniArray)?;
        self.versym = seen.versym.map(Vaddr);
        let gnu_hash = seen.gnu_hash.filter(|&table| table != 0);
        self.gnu_hash = gnu_hash.map(|table| GnuHash::decode(image, Vaddr(table))).transpose()?;
        self.verneed = seen.verneed.list(Table::Verneed)?;
        self.verdef = seen.verdef.list(Table::Verdef)?;
        Ok(())
    }

    /// The values of all entries with the tag `tag`, in order.
    pub fn values(&self, image: &(impl Image + ?Sized), tag: u64) -> impl Iterator<Item = u64> {
        self.entries.iter(image).filter(move |entry| entry.d_tag == tag).map(|entry| entry.d_val)
    }
}

/// A byte of DT_STRTAB.
struct Byte;

impl Decode for Byte {
    const SIZE: usize = 1;
    fn decode(_: &[u8]) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::{DynamicInfo, Failure, Place, Problem, Table};
    use crate::base::addr::Vaddr;
    use crate::elf::consts;
    use crate::os::testing::Bytes;
    use std::vec::Vec;

    fn decode(entries: &[(u64, u64)]) -> Result<DynamicInfo, Failure<'static>> {
        let mut bytes: Vec<u8> = Vec::new();
        for (tag, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        let size = bytes.len() as u64;
        bytes.resize(0x400, 0);
        let image = Bytes::new(bytes);
        let info = DynamicInfo::decode(&image, Place { vaddr: Vaddr(0), size })?;
        info.require_supported().map(|()| info)
    }

    #[test]
    fn address_and_size_belong_together() {
        assert_eq!(decode(&[(consts::DT_RELA, 0x100)]), Err(Problem::HalfTable(Table::Rela).into()));
        assert_eq!(decode(&[(consts::DT_RELASZ, 24)]), Err(Problem::HalfTable(Table::Rela).into()));
        assert_eq!(decode(&[(consts::DT_VERNEED, 24)]), Err(Problem::HalfTable(Table::Verneed).into()));
        let rela = decode(&[(consts::DT_RELA, 0x100), (consts::DT_RELASZ, 48)]).unwrap().rela;
        assert_eq!(rela.len(), 2);
    }

    #[test]
    fn sizes_are_checked() {
        let odd = decode(&[(consts::DT_RELA, 0x100), (consts::DT_RELASZ, 25)]);
        assert_eq!(odd, Err(Problem::TableSize { table: Table::Rela, size: 25 }.into()));
        let entry = decode(&[(consts::DT_RELAENT, 8)]);
        assert_eq!(entry, Err(Problem::TableSize { table: Table::Rela, size: 8 }.into()));
        let far = decode(&[(consts::DT_JMPREL, 0x3f0), (consts::DT_PLTRELSZ, 24)]);
        assert_eq!(far, Err(Problem::OutsideImage { table: Table::JmpRel, vaddr: Vaddr(0x3f0) }.into()));
    }

    #[test]
    fn runpath_hides_rpath() {
        let info = decode(&[(consts::DT_RPATH, 1), (consts::DT_RUNPATH, 2), (0, 0), (consts::DT_SONAME, 3)]);
        let info = info.unwrap();
        assert_eq!((info.rpath, info.runpath, info.soname), (None, Some(2), None));
        assert_eq!(info.entries.len(), 2, "what follows DT_NULL is not looked at");
    }

    #[test]
    fn strings_end_inside_the_table() {
        let info = decode(&[(consts::DT_STRTAB, 0x3fe), (consts::DT_STRSZ, 2)]).unwrap();
        let mut bytes = std::vec![b'x'; 0x400];
        assert_eq!(info.strings.get(&Bytes::new(bytes.clone()), 0), Err(Problem::BadString { offset: 0 }.into()));
        bytes[0x3ff] = 0;
        let image = Bytes::new(bytes);
        assert_eq!(info.strings.get(&image, 0), Ok(&b"x"[..]));
        assert_eq!(info.strings.get(&image, 2), Err(Problem::BadString { offset: 2 }.into()));
    }

    #[test]
    fn what_is_not_done_is_refused() {
        assert_eq!(decode(&[(consts::DT_TEXTREL, 0)]), Err(Problem::Unsupported("DT_TEXTREL").into()));
        assert_eq!(decode(&[(consts::DT_FLAGS, 4)]), Err(Problem::Unsupported("DF_TEXTREL").into()));
    }
}
