//! The dynamic section of a program whose start may be deferred: what is in it, with what it is about checked. Whatever the
//! full start might refuse, or might act on, is `None`.
//!
//! # Safety
//! This file exists because entries are kept in memory that is not initialised before it is needed, and the list of libcs'
//! names is read by address.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "words have one size here, and what checks that would be a call"
)]

use core::mem::MaybeUninit;

use abi::libcs_here::{GNU_SONAMES, MUSL_PREFIXES, MUSL_SONAME};
use rtld::elf::{Dyn, Phdr, Rela, Sym, consts};

use crate::cpu::ops::{load, store};
use crate::early::plain::{IDLE_FLAGS_1, bits};
use crate::early::program::{Program, Purpose, SANE};
use crate::early::raw::{At, Bytes, GnuHashHead, RawVernaux, RawVerneed, Records};
use crate::early::text::EarlyString;
use crate::run::cpu::stub_layout::STUBS;

/// Tags below 64 that mean nothing here that is not checked. No others are accepted: initialisers and finalisers
/// are not.
const KNOWN: u64 = bits([
    consts::DT_NEEDED,
    consts::DT_PLTRELSZ,
    consts::DT_INIT,
    consts::DT_PLTGOT,
    consts::DT_HASH,
    consts::DT_STRTAB,
    consts::DT_SYMTAB,
    consts::DT_RELA,
    consts::DT_RELASZ,
    consts::DT_RELAENT,
    consts::DT_STRSZ,
    consts::DT_SYMENT,
    consts::DT_RPATH,
    consts::DT_PLTREL,
    consts::DT_DEBUG,
    consts::DT_JMPREL,
    consts::DT_BIND_NOW,
    consts::DT_RUNPATH,
    consts::DT_FLAGS,
    consts::DT_RELRSZ,
    consts::DT_RELR,
    consts::DT_RELRENT,
]);

/// Most symbols: one for each first-call stub. The first is no symbol.
pub(crate) const MOST_SYMBOLS: usize = (STUBS.groups * STUBS.per_group) as usize;

/// Most entries of DT_VERNEED and DT_GNU_HASH that are looked at. Larger ones are for the full start.
const MOST_VERSIONS: usize = 256;
const MOST_HASH_WORDS: usize = 1 << 16;

/// Names of libcs and of their parts, each with its NUL: the last ones are what names begin with.
#[allow(clippy::indexing_slicing, reason = "at compile time")]
static LIBCS: [[u8; LONGEST]; ALL] = {
    let mut names = [[0; LONGEST]; ALL];
    let mut index = 0;
    while index < ALL {
        let name = match index.checked_sub(GNU_SONAMES.len()) {
            None => GNU_SONAMES[index],
            Some(0) => MUSL_SONAME,
            Some(prefix) => MUSL_PREFIXES[prefix - 1],
        };
        assert!(name.len() < LONGEST, "a name has its NUL");
        let mut at = 0;
        while at < name.len() {
            names[index][at] = name[at];
            at += 1;
        }
        index += 1;
    }
    names
};
const LONGEST: usize = 24;
const WHOLE: usize = GNU_SONAMES.len() + 1;
const ALL: usize = WHOLE + MUSL_PREFIXES.len();

/// Whether a DT_NEEDED names a libc, which is never searched for (`abi::libcs::Libc::named_by`).
#[inline(always)]
fn is_libc(name: EarlyString) -> bool {
    let mut index = 0usize;
    while index < ALL {
        let known = ((&raw const LIBCS) as usize).wrapping_add(index.wrapping_mul(LONGEST));
        // SAFETY: one of the names.
        let known = unsafe { EarlyString::new(known) };
        if let Some(rest) = name.after(known)
            && (index >= WHOLE || rest.split().is_none())
        {
            return true;
        }
        index = index.wrapping_add(1);
    }
    false
}

/// Values of entries by tag, below 64.
struct Tags {
    values: [MaybeUninit<usize>; 64],
    seen: u64,
}

impl Tags {
    #[inline(always)]
    fn place(&self, tag: u64) -> usize {
        ((&raw const self.values) as usize).wrapping_add((tag as usize & 63).wrapping_mul(size_of::<usize>()))
    }

    /// Takes an entry, if it is one that is known, and the only one of its kind.
    #[inline(always)]
    fn take(&mut self, entry: At<Dyn>) -> bool {
        let tag = entry.tag() as u64;
        let bit = 1u64.wrapping_shl(entry.low_tag());
        let again = self.seen & bit != 0 && tag != consts::DT_NEEDED;
        if tag >= 64 || KNOWN & bit == 0 || again {
            return false;
        }
        self.seen |= bit;
        // SAFETY: one of `values`.
        unsafe { store(self.place(tag), entry.value()) };
        true
    }

    #[inline(always)]
    fn get(&self, tag: u64) -> Option<usize> {
        // SAFETY: one of `values`.
        let value = unsafe { load(self.place(tag)) };
        if self.seen & 1u64 << (tag & 63) == 0 { None } else { Some(value) }
    }

    /// Whether the entry is not there, or has that value.
    #[inline(always)]
    fn may_be(&self, tag: u64, value: usize) -> bool {
        match self.get(tag) {
            Some(found) => found == value,
            None => true,
        }
    }

    /// Whether entries have the sizes that they have here, and flags ask for nothing.
    #[inline(always)]
    fn are_usual(&self) -> bool {
        let now = self.may_be(consts::DT_FLAGS, 0) || self.may_be(consts::DT_FLAGS, consts::DF_BIND_NOW as usize);
        now && self.may_be(consts::DT_INIT, abi::note::CALL_ENTRY_INIT as usize)
            && self.may_be(consts::DT_SYMENT, size_of::<Sym>())
            && self.may_be(consts::DT_RELAENT, size_of::<Rela>())
            && self.may_be(consts::DT_RELRENT, size_of::<usize>())
            && self.may_be(consts::DT_PLTREL, consts::DT_RELA as usize)
    }

    /// The table of a `T` that two entries are about; nothing, if both are not there.
    #[inline(always)]
    fn table<T>(&self, program: &Program, address: u64, size: u64) -> Option<Bytes> {
        match (self.get(address), self.get(size)) {
            (Some(address), Some(size)) if size.checked_rem(size_of::<T>()) == Some(0) => {
                program.constant(address, size)
            }
            (None, None) => Some(Bytes::EMPTY),
            _ => None,
        }
    }
}

/// What is in a dynamic section.
struct Found {
    tags: Tags,
    gnu_hash: Option<usize>,
    versym: Option<usize>,
    verneed: Option<usize>,
    verneed_count: Option<usize>,
    /// Where the value of DT_DEBUG is.
    debug: usize,
}

impl Found {
    /// Nothing yet.
    #[inline(always)]
    const fn new() -> Self {
        let tags = Tags { values: [const { MaybeUninit::uninit() }; 64], seen: 0 };
        Self { tags, gnu_hash: None, versym: None, verneed: None, verneed_count: None, debug: 0 }
    }

    /// Collects all entries, if all of them are known, and none is there twice.
    #[inline(always)]
    fn collect(&mut self, program: &Program, section: Bytes) -> Option<()> {
        let mut entries: Records<Dyn> = section.run();
        while let Some(entry) = entries.next() {
            let value = entry.value();
            // Read anew for each question, so that the compiler does not make a jump table of them.
            let is = |tag: u64| entry.tag() as u64 == tag;
            if is(consts::DT_NULL) {
                break;
            }
            let place = if is(consts::DT_GNU_HASH) {
                &mut self.gnu_hash
            } else if is(consts::DT_VERSYM) {
                &mut self.versym
            } else if is(consts::DT_VERNEED) {
                &mut self.verneed
            } else if is(consts::DT_VERNEEDNUM) {
                &mut self.verneed_count
            } else {
                if is(consts::DT_DEBUG) {
                    self.debug = entry.value_address().wrapping_sub(program.bias());
                }
                let idle = is(consts::DT_RELACOUNT) || is(consts::DT_FLAGS_1) && value & !IDLE_FLAGS_1 == 0;
                if !idle && !self.tags.take(entry) {
                    return None;
                }
                continue;
            };
            if place.is_some() {
                return None;
            }
            *place = Some(value);
        }
        Some(())
    }
}

/// Tables of a program, all in memory that nobody writes to.
pub(crate) struct Tables {
    /// Where the dynamic section is, and its size in bytes.
    pub(crate) dynamic: (usize, usize),
    /// Where the value of DT_DEBUG is to be written; 0 if it can not be.
    pub(crate) debug: usize,
    /// Whether DT_INIT says what the ABI note would, if that was lost.
    pub(crate) marked: bool,
    /// DT_RELA, DT_JMPREL, DT_RELR.
    pub(crate) rela: Bytes,
    pub(crate) jmprel: Bytes,
    pub(crate) relr: Bytes,
    /// DT_SYMTAB, whose size nothing tells: each symbol is checked by itself.
    symbols: usize,
    strings: Bytes,
    /// DT_VERSYM.
    versym: Option<usize>,
}

impl Tables {
    /// Reads the dynamic section that a program header is about.
    #[allow(clippy::manual_unwrap_or, clippy::manual_unwrap_or_default, reason = "that would be a call")]
    #[inline(always)]
    pub(crate) fn read(program: &Program, dynamic: At<Phdr>) -> Option<Self> {
        let (vaddr, size) = (dynamic.vaddr(), dynamic.filesz());
        if vaddr >= SANE || size != dynamic.memsz() {
            return None;
        }
        let section = known!(program.mapped(vaddr, size, consts::PF_R));
        let mut found = Found::new();
        known!(found.collect(program, section));
        let tags = &found.tags;
        if !tags.are_usual() {
            return None;
        }
        let strings = known!(tags.table::<u8>(program, consts::DT_STRTAB, consts::DT_STRSZ));
        // Then every string in it has an end.
        if strings.last() != Some(0) {
            return None;
        }
        let unlisted = known!(symbols_unlisted(program, known!(found.gnu_hash)));
        let symbols = known!(tags.get(consts::DT_SYMTAB));
        // The first is there, though nothing refers to it.
        known!(program.constant(symbols, size_of::<Sym>()));
        let tables = Self {
            dynamic: (vaddr, size),
            debug: if program.holds(found.debug, size_of::<usize>(), Purpose::Writable) { found.debug } else { 0 },
            marked: tags.get(consts::DT_INIT).is_some(),
            rela: known!(tags.table::<Rela>(program, consts::DT_RELA, consts::DT_RELASZ)),
            jmprel: known!(tags.table::<Rela>(program, consts::DT_JMPREL, consts::DT_PLTRELSZ)),
            relr: known!(tags.table::<usize>(program, consts::DT_RELR, consts::DT_RELRSZ)),
            symbols,
            strings,
            versym: found.versym,
        };
        // Nothing is searched for but by libc; but that is to find what it would have found at the start.
        if !tables.searches_absolutely(tags.get(consts::DT_RPATH))
            || !tables.searches_absolutely(tags.get(consts::DT_RUNPATH))
        {
            return None;
        }
        known!(tables.require_names(program, section, unlisted));
        match (found.verneed, found.verneed_count) {
            (Some(verneed), Some(count)) => known!(tables.read_versions(program, section, verneed, count)),
            (None, None) => {}
            _ => return None,
        }
        Some(tables)
    }

    /// The string at an offset.
    #[inline(always)]
    pub(crate) fn name(&self, offset: u32) -> Option<EarlyString> {
        let offset = offset as usize;
        let string = self.strings.skip(offset);
        // SAFETY: it ends within the table.
        if offset < self.strings.size() { Some(unsafe { EarlyString::new(string.address()) }) } else { None }
    }

    /// Whether a list of directories, if there is one, can be read and does not depend on the current one.
    #[inline(always)]
    fn searches_absolutely(&self, offset: Option<usize>) -> bool {
        let Some(offset) = offset else { return true };
        match u32::try_from(offset) {
            Ok(offset) => match self.name(offset) {
                Some(list) => list.searches_absolutely(false),
                None => false,
            },
            Err(_) => false,
        }
    }

    /// A symbol, but for the first, which is none.
    #[inline(always)]
    pub(crate) fn symbol(&self, program: &Program, index: usize) -> Option<At<Sym>> {
        let vaddr = self.symbols.wrapping_add(index.wrapping_mul(size_of::<Sym>()));
        if index == 0 { None } else { known!(program.constant(vaddr, size_of::<Sym>())).first() }
    }

    /// The number of a symbol's version; 0, which is none, without DT_VERSYM.
    #[inline(always)]
    pub(crate) fn version(&self, program: &Program, index: usize) -> Option<u16> {
        let Some(versym) = self.versym else { return Some(0) };
        // An index is at most 32 bits wide.
        let vaddr = known!(versym.checked_add(index.wrapping_mul(size_of::<u16>())));
        let entry: At<u16> = known!(known!(program.constant(vaddr, size_of::<u16>())).first());
        Some(entry.short() & consts::VERSYM_VERSION)
    }

    /// Requires that the symbols before those that DT_GNU_HASH would list have names, and that all that is needed, at least one thing, is a libc.
    #[inline(always)]
    fn require_names(&self, program: &Program, section: Bytes, unlisted: usize) -> Option<()> {
        let mut index = 1usize;
        while index < unlisted {
            known!(self.name(known!(self.symbol(program, index)).name_offset()));
            known!(self.version(program, index));
            index = index.wrapping_add(1);
        }
        let mut needed = 0usize;
        let mut entries: Records<Dyn> = section.run();
        while let Some(entry) = entries.next() {
            let tag = entry.tag() as u64;
            if tag == consts::DT_NULL {
                break;
            }
            if tag == consts::DT_NEEDED {
                needed = needed.wrapping_add(1);
                if !is_libc(known!(self.name(known!(u32::try_from(entry.value()).ok())))) {
                    return None;
                }
            }
        }
        if needed == 0 { None } else { Some(()) }
    }

    /// Reads DT_VERNEED, all of which has to be of files that DT_NEEDED names by the same string.
    #[inline(always)]
    fn read_versions(&self, program: &Program, section: Bytes, start: usize, count: usize) -> Option<()> {
        let (mut at, mut left) = (start, MOST_VERSIONS);
        let (mut files, mut auxes) = (0usize, 0usize);
        while files < count {
            let file: At<RawVerneed> = known!(known!(program.constant(at, size_of::<RawVerneed>())).first());
            if !is_needed(section, file.file_offset() as usize) {
                return None;
            }
            let mut aux_at = at.wrapping_add(file.aux() as usize);
            let mut versions = 0u16;
            while versions < file.count() {
                left = known!(left.checked_sub(1));
                let aux: At<RawVernaux> =
                    known!(known!(program.constant(aux_at, size_of::<RawVernaux>())).first());
                known!(self.name(aux.name_offset()));
                let number = aux.other() & consts::VERSYM_VERSION;
                if number <= consts::VER_NDX_GLOBAL {
                    return None;
                }
                versions = versions.wrapping_add(1);
                auxes = auxes.wrapping_add(1);
                if aux.next() == 0 {
                    break;
                }
                aux_at = aux_at.wrapping_add(aux.next() as usize);
            }
            files = files.wrapping_add(1);
            left = known!(left.checked_sub(1));
            if file.next() == 0 {
                break;
            }
            at = at.wrapping_add(file.next() as usize);
        }
        // The full start refuses more of them than the file has room for, which are entries that overlap.
        known!(program.constant(start, auxes.wrapping_mul(size_of::<RawVernaux>())));
        Some(())
    }
}

/// Whether a DT_NEEDED of the section has that value.
#[inline(always)]
fn is_needed(section: Bytes, name: usize) -> bool {
    let mut entries: Records<Dyn> = section.run();
    while let Some(entry) = entries.next() {
        if entry.tag() as u64 == consts::DT_NULL {
            break;
        }
        if entry.tag() as u64 == consts::DT_NEEDED && entry.value() == name {
            return true;
        }
    }
    false
}

/// The number of symbols before those that DT_GNU_HASH lists, if it lists none.
#[inline(always)]
fn symbols_unlisted(program: &Program, table: usize) -> Option<usize> {
    let head: At<GnuHashHead> = known!(known!(program.constant(table, size_of::<GnuHashHead>())).first());
    let (buckets, bloom) = (head.bucket_count() as usize, head.bloom_words() as usize);
    let first = head.first() as usize;
    let power = bloom != 0 && bloom & bloom.wrapping_sub(1) == 0;
    if !power || bloom > MOST_HASH_WORDS || buckets > MOST_HASH_WORDS || first == 0 || first > MOST_SYMBOLS {
        return None;
    }
    let before = bloom.wrapping_mul(8).wrapping_add(size_of::<GnuHashHead>());
    let all = known!(program.constant(table, before.wrapping_add(buckets.wrapping_mul(4))));
    let mut words: Records<u32> = all.skip(before).run();
    while let Some(bucket) = words.next() {
        if bucket.half() != 0 {
            return None;
        }
    }
    Some(first)
}
