//! Lookup of a name in one object: by DT_GNU_HASH, or by DT_HASH where there is no DT_GNU_HASH.
#![forbid(unsafe_code)]

use core::ops::Range;

use crate::base::addr::Vaddr;
use crate::elf::dynamic::DynamicInfo;
use crate::elf::gnu_hash::GnuHash;
use crate::elf::version::{Acceptance, Wanted};
use crate::elf::{Sym, consts, gnu_hash, st_bind, st_type, st_visibility, sysv_hash};
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// A name to look up, with the version of the reference.
#[derive(Clone, Copy, Debug)]
pub struct Name<'n> {
    /// The name.
    pub bytes: &'n [u8],
    /// The version of the reference, if it has one.
    pub version: Option<&'n [u8]>,
    /// Whether a program's PLT slot for a function counts as a definition, so that the function has one address in all
    /// objects (x86_64 psABI, "Function Addresses"). False for the references of PLT slots themselves.
    pub canonical: bool,
    /// For a reference without a version: whether it means the default version, as in dlsym(3), and not the first
    /// version, which is what an object was linked with when the library had no versions yet.
    pub newest: bool,
}

impl<'n> Name<'n> {
    /// A name without a version.
    #[must_use]
    pub fn new(bytes: &'n [u8]) -> Self {
        Self::versioned(bytes, None)
    }

    /// A name with the version of the reference, if it has one.
    #[must_use]
    pub fn versioned(bytes: &'n [u8], version: Option<&'n [u8]>) -> Self {
        Self { bytes, version, canonical: false, newest: false }
    }

    /// A name as dlsym(3) looks it up: canonical, and of the default version.
    #[must_use]
    pub fn by_hand(bytes: &'n [u8]) -> Self {
        Self { canonical: true, newest: true, ..Self::new(bytes) }
    }

    /// The name with [`Name::canonical`] set to the argument.
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
    /// The version of the reference in terms of this object's versions; computed when the first symbol has the name.
    wanted: Option<Wanted>,
    /// For a reference without a version: the first definition of a later version, used if there is no better one.
    otherwise: Option<Sym>,
    /// Number of entries that were examined.
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

/// Whether the symbol is a function of another object for which the program has a PLT slot, at `st_value`.
pub(crate) fn is_canonical_plt(sym: &Sym) -> bool {
    let undefined = u32::from(sym.st_shndx) == consts::SHN_UNDEF;
    // The slot is code, also where the function's own type (STT_GNU_IFUNC) is kept, or none is stated.
    let function = matches!(st_type(sym), consts::STT_FUNC | consts::STT_GNU_IFUNC | consts::STT_NOTYPE);
    undefined && sym.st_value != 0 && function && is_visible(sym)
}

/// Whether a definition's address is that of a resolver (STT_GNU_IFUNC), not of a PLT slot for such a function.
#[must_use]
pub fn is_resolver(sym: &Sym) -> bool {
    st_type(sym) == consts::STT_GNU_IFUNC && u32::from(sym.st_shndx) != consts::SHN_UNDEF
}

/// Whether `st_value` is a plain number and not an address of the object (SHN_ABS).
#[must_use]
pub const fn is_absolute(sym: &Sym) -> bool {
    sym.st_shndx == 0xfff1
}

/// Number of entries in the symbol table, as its hash table states it: a bound for a walk over all exported symbols. 0
/// without a hash table.
///
/// # Errors
/// [`Problem::OutsideImage`] if the hash table is not in readable memory.
pub fn count(image: &impl Image, dynamic: &DynamicInfo) -> Result<u32, Failure<'static>> {
    if let Some(table) = dynamic.gnu_hash {
        return table.count(image);
    }
    let Some(table) = dynamic.hash else { return Ok(0) };
    let outside = Problem::OutsideImage { table: Table::Hash, vaddr: table };
    table.checked_add(4).and_then(|vaddr| image.get(vaddr)).ok_or_else(|| outside.into())
}

/// Number of the first symbol that the hash table lists. Symbols before it are local or undefined.
#[must_use]
pub fn first_listed(dynamic: &DynamicInfo) -> u32 {
    dynamic.gnu_hash.map_or(1, |table| table.first())
}

/// Numbers of the symbols that the hash table lists.
///
/// # Errors
/// [`Problem::OutsideImage`] if the hash table, or the last symbol that it lists, is not in readable memory.
pub fn listed(image: &impl Image, dynamic: &DynamicInfo) -> Result<Range<u32>, Failure<'static>> {
    let first = first_listed(dynamic);
    let count = count(image, dynamic)?;
    let outside =
        Problem::OutsideImage { table: Table::Symbols, vaddr: dynamic.symbols.vaddr(0).unwrap_or_default() };
    let last = count.checked_sub(1).filter(|&last| last >= first);
    // A table that is not all there would only waste room for its entries.
    last.map_or(Ok(()), |last| dynamic.symbols.get(image, last).map(drop).map_err(|_| outside))?;
    Ok(first..count)
}

/// Looks `name` up among the symbols that the object exports.
///
/// # Errors
/// [`Problem::OutsideImage`], [`Problem::TableSize`] or [`Problem::BadString`] if a table that the lookup reads is
/// broken.
pub fn lookup(
    image: &impl Image,
    dynamic: &DynamicInfo,
    name: &Name<'_>,
) -> Result<Option<Sym>, Failure<'static>> {
    lookup_hashed(image, dynamic, name, gnu_hash(name.bytes), &mut 0)
}

/// Looks `name` up, given `hash`, its hash for DT_GNU_HASH. Adds the number of entries that were examined to `work`.
pub(crate) fn lookup_hashed<I: Image>(
    image: &I,
    dynamic: &DynamicInfo,
    name: &Name<'_>,
    hash: u32,
    work: &mut u64,
) -> Result<Option<Sym>, Failure<'static>> {
    *work = work.wrapping_add(1);
    let mut lookup = Lookup { image, dynamic, name, wanted: None, otherwise: None, work };
    let found = match (dynamic.gnu_hash, dynamic.hash) {
        (Some(table), _) => lookup_gnu(&mut lookup, &table, hash)?,
        (None, Some(table)) => lookup_sysv(&mut lookup, table)?,
        (None, None) => None,
    };
    Ok(found.or(lookup.otherwise))
}

impl<I: Image> Lookup<'_, '_, I> {
    /// Symbol `index`, if it is the definition that the reference binds to.
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
    // Ends at the last entry of the chain or, in a broken table, at the end of the file-backed memory.
    loop {
        *lookup.work = lookup.work.wrapping_add(1);
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
        *lookup.work = lookup.work.wrapping_add(1);
        let found = if index == 0 { None } else { lookup.consider(index)? };
        if index == 0 || found.is_some() {
            return Ok(found);
        }
        index = word(bucket_count.wrapping_add(2).wrapping_add(u64::from(index)))?;
    }
    if index == 0 { Ok(None) } else { Err(Problem::TableSize { table: Table::Hash, size: chain_count }.into()) }
}

/// The symbol that contains `vaddr`, of those that other objects may bind to: of several, the one that begins last (dladdr(3),
/// by glibc's rules: one without a size contains its own address).
///
/// # Errors
/// A table is not all in the object's memory.
pub fn containing(
    image: &impl Image,
    dynamic: &DynamicInfo,
    vaddr: Vaddr,
) -> Result<Option<Sym>, Failure<'static>> {
    let mut best: Option<Sym> = None;
    for index in listed(image, dynamic)? {
        let sym = dynamic.symbols.get(image, index)?;
        let into = vaddr.0.wrapping_sub(sym.st_value);
        let contains = into < sym.st_size || into == 0 && sym.st_size == 0;
        let address = is_exported(&sym) && st_type(&sym) != consts::STT_TLS && !is_absolute(&sym);
        if contains && address && best.is_none_or(|best| best.st_value < sym.st_value) {
            best = Some(sym);
        }
    }
    Ok(best)
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
