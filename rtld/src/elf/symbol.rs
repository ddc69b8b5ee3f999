//! Looking a name up in one object: DT_GNU_HASH, or DT_HASH where there is no other.
#![forbid(unsafe_code)]

use core::ops::Range;

use crate::base::addr::Vaddr;
use crate::elf::dynamic::DynamicInfo;
use crate::elf::gnu_hash::GnuHash;
use crate::elf::version::{Acceptance, Wanted};
use crate::elf::{Sym, consts, gnu_hash, st_bind, st_type, st_visibility, sysv_hash};
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// A name, and the version that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Name<'n> {
    /// The name.
    pub bytes: &'n [u8],
    /// The version of the reference, if it has one.
    pub version: Option<&'n [u8]>,
    /// Whether the PLT slot that a program has for a function counts as its definition, so that all have one address
    /// for it (x86_64 psABI, "Function Addresses"). Not for the PLT slots themselves.
    pub canonical: bool,
    /// Without a version: whether the default version is asked for, as by dlsym(3), and not the first, which is what an
    /// object was linked with that knew of none.
    pub newest: bool,
}

impl<'n> Name<'n> {
    /// A name without a version.
    #[must_use]
    pub fn new(bytes: &'n [u8]) -> Self {
        Self::versioned(bytes, None)
    }

    /// A name with the version that is asked for, if any.
    #[must_use]
    pub fn versioned(bytes: &'n [u8], version: Option<&'n [u8]>) -> Self {
        Self { bytes, version, canonical: false, newest: false }
    }

    /// As dlsym(3) looks a name up.
    #[must_use]
    pub fn by_hand(bytes: &'n [u8]) -> Self {
        Self { canonical: true, newest: true, ..Self::new(bytes) }
    }

    /// As for a reference that is not a PLT slot's.
    #[must_use]
    pub const fn canonical(self, canonical: bool) -> Self {
        Self { canonical, ..self }
    }
}

/// A lookup in one object.
struct Lookup<'l, 'n, I> {
    image: &'l I,
    dynamic: &'l DynamicInfo,
    name: &'l Name<'n>,
    /// What the version that is asked for is here; found out when something has the name.
    wanted: Option<Wanted>,
    /// The first definition of a later version, for a reference without one.
    otherwise: Option<Sym>,
    /// How much there was to look at.
    work: &'l mut u64,
}

/// Whether other objects may bind to the symbol.
#[must_use]
#[inline]
pub fn is_exported(sym: &Sym) -> bool {
    let defined = u32::from(sym.st_shndx) != consts::SHN_UNDEF;
    is_visible(sym) && defined && (sym.st_value != 0 || st_type(sym) == consts::STT_TLS || is_absolute(sym))
}

fn is_visible(sym: &Sym) -> bool {
    let binding = matches!(st_bind(sym), consts::STB_GLOBAL | consts::STB_WEAK | consts::STB_GNU_UNIQUE);
    binding && !matches!(st_visibility(sym), consts::STV_HIDDEN | consts::STV_INTERNAL)
}

/// Whether the symbol is a function of some other object, for which the program has a PLT slot at `st_value`.
pub(crate) fn is_canonical_plt(sym: &Sym) -> bool {
    let undefined = u32::from(sym.st_shndx) == consts::SHN_UNDEF;
    undefined && sym.st_value != 0 && st_type(sym) == consts::STT_FUNC && is_visible(sym)
}

/// Whether the value is not an address of the object (SHN_ABS).
#[must_use]
pub const fn is_absolute(sym: &Sym) -> bool {
    sym.st_shndx == 0xfff1
}

/// Number of entries in the symbol table, as far as its hash table tells: a bound for walking all that is
/// exported.
pub fn count(image: &impl Image, dynamic: &DynamicInfo) -> Result<u32, Failure<'static>> {
    if let Some(table) = dynamic.gnu_hash {
        return table.count(image);
    }
    let Some(table) = dynamic.hash else { return Ok(0) };
    let outside = Problem::OutsideImage { table: Table::Hash, vaddr: table };
    table.checked_add(4).and_then(|vaddr| image.get(vaddr)).ok_or_else(|| outside.into())
}

/// Number of the first symbol that its hash table lists. Those before are its own business, or others'.
#[must_use]
pub fn first_listed(dynamic: &DynamicInfo) -> u32 {
    dynamic.gnu_hash.map_or(1, |table| table.first())
}

/// Numbers of the symbols that its hash table lists, as far as that tells.
pub fn listed(image: &impl Image, dynamic: &DynamicInfo) -> Result<Range<u32>, Failure<'static>> {
    let first = first_listed(dynamic);
    let count = count(image, dynamic)?;
    let outside =
        Problem::OutsideImage { table: Table::Symbols, vaddr: dynamic.symbols.vaddr(0).unwrap_or_default() };
    let last = count.checked_sub(1).filter(|&last| last >= first);
    // What is not there at all need not be counted with.
    last.map_or(Ok(()), |last| dynamic.symbols.get(image, last).map(drop).map_err(|_| outside))?;
    Ok(first..count)
}

/// Looks `name` up among what the object exports.
pub fn lookup(
    image: &impl Image,
    dynamic: &DynamicInfo,
    name: &Name<'_>,
) -> Result<Option<Sym>, Failure<'static>> {
    lookup_hashed(image, dynamic, name, gnu_hash(name.bytes), &mut 0)
}

/// The same of a name whose DT_GNU_HASH hash is `hash`. `work` grows by the number of things that were looked at for it.
pub(crate) fn lookup_hashed<I: Image>(
    image: &I,
    dynamic: &DynamicInfo,
    name: &Name<'_>,
    hash: u32,
    work: &mut u64,
) -> Result<Option<Sym>, Failure<'static>> {
    *work = work.saturating_add(1);
    let mut lookup = Lookup { image, dynamic, name, wanted: None, otherwise: None, work };
    let found = match (dynamic.gnu_hash, dynamic.hash) {
        (Some(table), _) => lookup_gnu(&mut lookup, &table, hash)?,
        (None, Some(table)) => lookup_sysv(&mut lookup, table)?,
        (None, None) => None,
    };
    Ok(found.or(lookup.otherwise))
}

impl<I: Image> Lookup<'_, '_, I> {
    /// Symbol `index`, if it is the one.
    fn consider(&mut self, index: u32) -> Result<Option<Sym>, Failure<'static>> {
        let Self { image, dynamic, name, .. } = *self;
        let sym = dynamic.symbols.get(image, index)?;
        let canonical = name.canonical && is_canonical_plt(&sym);
        if !(canonical || is_exported(&sym)) || !dynamic.strings.is(image, u64::from(sym.st_name), name.bytes)? {
            return Ok(None);
        }
        if canonical {
            return Ok(Some(sym));
        }
        let wanted = match self.wanted {
            Some(wanted) => wanted,
            None => {
                let versions = dynamic.verdef.filter(|_| name.version.is_some()).map_or(0, |(_, count)| count);
                *self.work = self.work.saturating_add(versions);
                Wanted::of(image, dynamic, name.version, name.newest)?
            }
        };
        self.wanted = Some(wanted);
        Ok(match wanted.accepts(image, dynamic, index)? {
            Acceptance::Bind => Some(sym),
            Acceptance::Otherwise => {
                self.otherwise = self.otherwise.or(Some(sym));
                None
            }
            Acceptance::Refuse => None,
        })
    }
}

fn lookup_gnu<I: Image>(
    lookup: &mut Lookup<'_, '_, I>,
    table: &GnuHash,
    hash: u32,
) -> Result<Option<Sym>, Failure<'static>> {
    let image = lookup.image;
    let Some(mut index) = table.bucket(image, hash)? else { return Ok(None) };
    // Ends at the chain's last entry or, in a broken table, at the end of what the file gives.
    loop {
        *lookup.work = lookup.work.saturating_add(1);
        let entry = table.chain(image, index)?;
        let same = entry | 1 == hash | 1;
        let found = if same { lookup.consider(index)? } else { None };
        if found.is_some() || entry & 1 != 0 {
            return Ok(found);
        }
        index = table.after(index)?;
    }
}

fn lookup_sysv<I: Image>(lookup: &mut Lookup<'_, '_, I>, table: Vaddr) -> Result<Option<Sym>, Failure<'static>> {
    let image = lookup.image;
    let outside = Problem::OutsideImage { table: Table::Hash, vaddr: table };
    let word = |index: u64| {
        let vaddr = table.checked_add(index.wrapping_mul(4)).ok_or(outside)?;
        image.get::<u32>(vaddr).ok_or(outside)
    };
    let (bucket_count, chain_count) = (u64::from(word(0)?), u64::from(word(1)?));
    let Some(bucket) = u64::from(sysv_hash(lookup.name.bytes)).checked_rem(bucket_count) else { return Ok(None) };
    let mut index = word(bucket.wrapping_add(2))?;
    let words = bucket_count.saturating_add(chain_count).saturating_add(2);
    if image.file_backed(table) < words.saturating_mul(4) {
        return Err(outside.into());
    }
    // A chain visits each symbol at most once; one that goes on is a loop.
    for _ in 0..chain_count {
        *lookup.work = lookup.work.saturating_add(1);
        let found = if index == 0 { None } else { lookup.consider(index)? };
        if index == 0 || found.is_some() {
            return Ok(found);
        }
        index = word(bucket_count.wrapping_add(2).wrapping_add(u64::from(index)))?;
    }
    if index == 0 { Ok(None) } else { Err(Problem::TableSize { table: Table::Hash, size: chain_count }.into()) }
}

#[cfg(test)]
mod tests {
    use super::Name;
    use crate::elf::Sym;
    use crate::elf::dynamic::DynamicInfo;
    use crate::error::{Failure, Problem};
    use crate::os::testing::{Bytes, Symbolic};

    fn lookup(image: &Bytes, dynamic: &DynamicInfo, name: &[u8]) -> Result<Option<Sym>, Failure<'static>> {
        super::lookup(image, dynamic, &Name::new(name))
    }

    #[test]
    fn both_tables_find_every_name_and_no_other() {
        for names in [&["a"][..], &["alpha", "beta", "gamma", "delta", "alphabet", ""]] {
            for gnu in [true, false] {
                let object = Symbolic::new(names, gnu);
                for (index, name) in names.iter().enumerate() {
                    let found = lookup(&object.image, &object.dynamic, name.as_bytes()).unwrap();
                    assert_eq!(found.unwrap().st_value, 0x100 + index as u64, "{name} gnu={gnu}");
                }
                assert_eq!(super::count(&object.image, &object.dynamic).unwrap(), names.len() as u32 + 1);
                let absent = lookup(&object.image, &object.dynamic, b"omega").unwrap();
                assert!(absent.is_none());
            }
        }
    }

    #[test]
    fn a_looping_chain_ends() {
        let mut object = Symbolic::new(&["a", "b"], false);
        // One bucket of three symbols: let the last point at itself.
        let mut bytes = object.image.bytes.clone();
        let chain = object.hash_at + 8 + 4;
        bytes[chain + 4..chain + 8].copy_from_slice(&1u32.to_le_bytes());
        bytes[chain + 8..chain + 12].copy_from_slice(&1u32.to_le_bytes());
        object.image = Bytes::new(bytes);
        let result = lookup(&object.image, &object.dynamic, b"zz").map_err(|failure| *failure);
        assert!(matches!(result, Err(Problem::TableSize { .. })), "{result:?}");
    }
}
