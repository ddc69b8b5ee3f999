//! Looking a name up in one object: DT_GNU_HASH, or DT_HASH where there is no other.
#![forbid(unsafe_code)]

use crate::addr::Vaddr;
use crate::dynamic::DynamicInfo;
use crate::elf::{Sym, consts, gnu_hash, st_bind, st_type, st_visibility, sysv_hash};
use crate::error::{Problem, Table};
use crate::seam::Image;
use crate::version::{self, Acceptance};

/// A name with its hash, so that a lookup in many objects hashes once, and the version that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Name<'n> {
    /// The name.
    pub bytes: &'n [u8],
    /// Its DT_GNU_HASH hash.
    pub hash: u32,
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
        Self { bytes, hash: gnu_hash(bytes), version, canonical: false, newest: false }
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

/// What one object has under a name: one definition for each version.
#[derive(Default)]
struct Found {
    /// The definition that the reference is bound to without further question.
    exact: Option<Sym>,
    /// Definitions of some later version, which a reference without a version is bound to if there is but one.
    later: Option<Sym>,
    later_count: u32,
}

impl Found {
    fn answer(self) -> Option<Sym> {
        self.exact.or(self.later.filter(|_| self.later_count == 1))
    }
}

/// Whether other objects may bind to the symbol.
#[must_use]
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
pub fn count(image: &impl Image, dynamic: &DynamicInfo) -> Result<u32, Problem<'static>> {
    if let Some(table) = dynamic.gnu_hash {
        return GnuHash::open(image, table)?.count(image);
    }
    let Some(table) = dynamic.hash else { return Ok(0) };
    let outside = Problem::OutsideImage { table: Table::Hash, vaddr: table };
    table.checked_add(4).and_then(|vaddr| image.get(vaddr)).ok_or(outside)
}

/// Looks `name` up among what the object exports.
pub fn lookup(
    image: &impl Image,
    dynamic: &DynamicInfo,
    name: &Name<'_>,
) -> Result<Option<Sym>, Problem<'static>> {
    if let Some(table) = dynamic.gnu_hash {
        return GnuHash::open(image, table)?.lookup(image, dynamic, name);
    }
    match dynamic.hash {
        Some(table) => lookup_sysv(image, dynamic, table, name),
        None => Ok(None),
    }
}

/// Takes the symbol at `index` into account. `true` once the search is over.
fn consider(
    image: &impl Image,
    dynamic: &DynamicInfo,
    index: u32,
    name: &Name<'_>,
    found: &mut Found,
) -> Result<bool, Problem<'static>> {
    let sym = dynamic.symbols.get(image, index)?;
    let counts = is_exported(&sym) || (name.canonical && is_canonical_plt(&sym));
    if !counts || dynamic.strings.get(image, u64::from(sym.st_name))? != name.bytes {
        return Ok(false);
    }
    match version::accepts(image, dynamic, index, name.version, name.newest)? {
        Acceptance::Bind => found.exact = Some(sym),
        Acceptance::IfOnly => {
            found.later = Some(sym);
            found.later_count = found.later_count.saturating_add(1);
        }
        Acceptance::Refuse => {}
    }
    Ok(found.exact.is_some())
}

/// Header of DT_GNU_HASH.
struct GnuHash {
    bloom: Vaddr,
    bloom_words: u32,
    bloom_shift: u32,
    buckets: Vaddr,
    bucket_count: u32,
    chains: Vaddr,
    first: u32,
    /// The end of what the file gives to the segment that the table is in.
    end: Vaddr,
}

impl GnuHash {
    fn open(image: &impl Image, table: Vaddr) -> Result<Self, Problem<'static>> {
        let outside = Problem::OutsideImage { table: Table::GnuHash, vaddr: table };
        let word = |index: u64| {
            let vaddr = table.checked_add(index.wrapping_mul(4)).ok_or(outside)?;
            image.get::<u32>(vaddr).ok_or(outside)
        };
        let (bucket_count, first, bloom_words, bloom_shift) = (word(0)?, word(1)?, word(2)?, word(3)?);
        if bloom_words == 0 || !bloom_words.is_power_of_two() {
            return Err(Problem::TableSize { table: Table::GnuHash, size: u64::from(bloom_words) });
        }
        let bloom = table.checked_add(16).ok_or(outside)?;
        let buckets = bloom.checked_add(u64::from(bloom_words).wrapping_mul(8)).ok_or(outside)?;
        let chains = buckets.checked_add(u64::from(bucket_count).wrapping_mul(4)).ok_or(outside)?;
        let end = table.checked_add(image.file_backed(table)).ok_or(outside)?;
        Ok(Self { bloom, bloom_words, bloom_shift, buckets, bucket_count, chains, first, end })
    }

    /// Word `index` of one of its parts.
    fn word(&self, image: &impl Image, part: Vaddr, index: u32) -> Result<u32, Problem<'static>> {
        let outside = |vaddr| Problem::OutsideImage { table: Table::GnuHash, vaddr };
        let at = part.checked_add(u64::from(index).wrapping_mul(4)).ok_or(outside(part))?;
        image.get::<u32>(at).filter(|_| at < self.end).ok_or(outside(at))
    }

    /// One more than the last symbol of the last chain.
    fn count(&self, image: &impl Image) -> Result<u32, Problem<'static>> {
        let outside = |vaddr| Problem::OutsideImage { table: Table::GnuHash, vaddr };
        let mut last = 0;
        for bucket in 0..self.bucket_count {
            last = last.max(self.word(image, self.buckets, bucket)?);
        }
        if last < self.first {
            return Ok(self.first);
        }
        while self.word(image, self.chains, last.wrapping_sub(self.first))? & 1 == 0 {
            last = last.checked_add(1).ok_or(outside(self.chains))?;
        }
        last.checked_add(1).ok_or(outside(self.chains))
    }

    fn lookup(
        &self,
        image: &impl Image,
        dynamic: &DynamicInfo,
        name: &Name<'_>,
    ) -> Result<Option<Sym>, Problem<'static>> {
        let outside = |vaddr| Problem::OutsideImage { table: Table::GnuHash, vaddr };
        let word = (name.hash >> 6) & self.bloom_words.wrapping_sub(1);
        let at = self.bloom.checked_add(u64::from(word).wrapping_mul(8)).ok_or(outside(self.bloom))?;
        let filter = image.get::<u64>(at).ok_or(outside(at))?;
        let bits = (1u64 << (name.hash & 63)) | (1u64 << (name.hash.wrapping_shr(self.bloom_shift) & 63));
        let Some(bucket) = name.hash.checked_rem(self.bucket_count) else { return Ok(None) };
        if filter & bits != bits {
            return Ok(None);
        }
        let mut index = self.word(image, self.buckets, bucket)?;
        if index < self.first {
            return Ok(None);
        }
        let mut found = Found::default();
        // Ends at the chain's last entry or, in a broken table, at the end of what the file gives.
        loop {
            let hash = self.word(image, self.chains, index.wrapping_sub(self.first))?;
            let same = hash | 1 == name.hash | 1;
            if (same && consider(image, dynamic, index, name, &mut found)?) || hash & 1 != 0 {
                return Ok(found.answer());
            }
            index = index.checked_add(1).ok_or(outside(self.chains))?;
        }
    }
}

fn lookup_sysv(
    image: &impl Image,
    dynamic: &DynamicInfo,
    table: Vaddr,
    name: &Name<'_>,
) -> Result<Option<Sym>, Problem<'static>> {
    let outside = Problem::OutsideImage { table: Table::Hash, vaddr: table };
    let word = |index: u64| {
        let vaddr = table.checked_add(index.wrapping_mul(4)).ok_or(outside)?;
        image.get::<u32>(vaddr).ok_or(outside)
    };
    let (bucket_count, chain_count) = (u64::from(word(0)?), u64::from(word(1)?));
    let Some(bucket) = u64::from(sysv_hash(name.bytes)).checked_rem(bucket_count) else { return Ok(None) };
    let mut index = word(bucket.wrapping_add(2))?;
    let words = bucket_count.saturating_add(chain_count).saturating_add(2);
    if image.file_backed(table) < words.saturating_mul(4) {
        return Err(outside);
    }
    let mut found = Found::default();
    // A chain visits each symbol at most once; one that goes on is a loop.
    for _ in 0..chain_count {
        if index == 0 || consider(image, dynamic, index, name, &mut found)? {
            return Ok(found.answer());
        }
        index = word(bucket_count.wrapping_add(2).wrapping_add(u64::from(index)))?;
    }
    if index == 0 { Ok(found.answer()) } else { Err(Problem::TableSize { table: Table::Hash, size: chain_count }) }
}

#[cfg(test)]
mod tests {
    use super::{Name, lookup};
    use crate::error::Problem;
    use crate::testing::{Bytes, Symbolic};

    #[test]
    fn both_tables_find_every_name_and_no_other() {
        for names in [&["a"][..], &["alpha", "beta", "gamma", "delta", "alphabet", ""]] {
            for gnu in [true, false] {
                let object = Symbolic::new(names, gnu);
                for (index, name) in names.iter().enumerate() {
                    let found = lookup(&object.image, &object.dynamic, &Name::new(name.as_bytes())).unwrap();
                    assert_eq!(found.unwrap().st_value, 0x100 + index as u64, "{name} gnu={gnu}");
                }
                assert_eq!(super::count(&object.image, &object.dynamic).unwrap(), names.len() as u32 + 1);
                let absent = lookup(&object.image, &object.dynamic, &Name::new(b"omega")).unwrap();
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
        let result = lookup(&object.image, &object.dynamic, &Name::new(b"zz"));
        assert!(matches!(result, Err(Problem::TableSize { .. })), "{result:?}");
    }

    #[test]
    fn broken_gnu_headers_are_refused() {
        let object = Symbolic::new(&["a"], true);
        for (word, value) in [(2usize, 0u32), (2, 3), (2, 1 << 30), (0, u32::MAX)] {
            let mut bytes = object.image.bytes.clone();
            let at = object.hash_at + word * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let result = lookup(&Bytes::new(bytes), &object.dynamic, &Name::new(b"a"));
            assert!(result.is_err(), "word {word} = {value}: {result:?}");
        }
    }
}
