//! Strings, symbols, hash tables and versions of a generated file.

use std::collections::BTreeMap;

use object::elf::{gnu_hash, hash};
use rtld::elf::consts;

/// `st_shndx` of a defined symbol: loaders only test that it is not SHN_UNDEF.
const SOME_SECTION: u16 = 1;
/// `st_shndx` of a symbol whose value is a number, not an address.
const SHN_ABS: u16 = 0xfff1;
/// The bit of DT_VERSYM that hides a definition from references without a version.
const VERSYM_HIDDEN: u16 = 0x8000;

/// The hash table of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// DT_GNU_HASH.
    Gnu,
    /// DT_HASH.
    SysV,
    /// None: no symbol can be found.
    None,
}

/// An entry of DT_SYMTAB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    name: String,
    bind: u8,
    kind: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
    version: Option<Version>,
    old: bool,
}

/// The version of a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    /// Version of a reference, needed from a file.
    Needed { file: String, name: String },
    /// Version of a definition.
    Defined { name: String },
}

/// DT_VERSYM, DT_VERDEF and DT_VERNEED, the latter two with the number of entries.
#[derive(Debug)]
pub(crate) struct Versions {
    pub(crate) versym: Vec<u8>,
    pub(crate) verdef: (Vec<u8>, u64),
    pub(crate) verneed: (Vec<u8>, u64),
}

impl Symbol {
    fn new(name: &str, kind: u8, section: u16, value: u64) -> Self {
        let (bind, other, size) = (consts::STB_GLOBAL, 0, 0);
        Self { name: name.to_owned(), bind, kind, other, section, value, size, version: None, old: false }
    }

    /// A function.
    #[must_use]
    pub fn function(name: &str, vaddr: u64) -> Self {
        Self::new(name, consts::STT_FUNC, SOME_SECTION, vaddr)
    }

    /// A variable.
    #[must_use]
    pub fn object(name: &str, vaddr: u64) -> Self {
        Self::new(name, consts::STT_OBJECT, SOME_SECTION, vaddr)
    }

    /// A thread-local variable.
    #[must_use]
    pub fn tls(name: &str, offset: u64) -> Self {
        Self::new(name, consts::STT_TLS, SOME_SECTION, offset)
    }

    /// A symbol of SHN_ABS: its value is a number, not an address.
    #[must_use]
    pub fn absolute(name: &str, value: u64) -> Self {
        Self::new(name, consts::STT_NOTYPE, SHN_ABS, value)
    }

    /// An undefined symbol.
    #[must_use]
    pub fn undefined(name: &str) -> Self {
        Self::new(name, consts::STT_NOTYPE, 0, 0)
    }

    /// Makes it STB_WEAK.
    #[must_use]
    pub fn weak(self) -> Self {
        Self { bind: consts::STB_WEAK, ..self }
    }

    /// Makes it STB_GNU_UNIQUE.
    #[must_use]
    pub fn unique(self) -> Self {
        Self { bind: consts::STB_GNU_UNIQUE, ..self }
    }

    /// Makes it STB_LOCAL.
    #[must_use]
    pub fn local(self) -> Self {
        Self { bind: consts::STB_LOCAL, ..self }
    }

    /// Makes it STV_HIDDEN.
    #[must_use]
    pub fn hidden(self) -> Self {
        self.other(consts::STV_HIDDEN)
    }

    /// Sets `st_other`: visibility, and the bits of the machine's psABI.
    #[must_use]
    pub fn other(self, other: u8) -> Self {
        Self { other, ..self }
    }

    /// Sets `st_size`.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// Sets `st_value`. An undefined symbol with a value is a canonical PLT entry: the function's address.
    #[must_use]
    pub fn value(self, value: u64) -> Self {
        Self { value, ..self }
    }

    /// Sets its type.
    #[must_use]
    pub fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// Makes it a reference to a version of a file.
    #[must_use]
    pub fn version(self, file: &str, version: &str) -> Self {
        Self { version: Some(Version::Needed { file: file.to_owned(), name: version.to_owned() }), ..self }
    }

    /// Makes it a definition of a version. The first version of a file has index 2.
    #[must_use]
    pub fn of_version(self, version: &str) -> Self {
        Self { version: Some(Version::Defined { name: version.to_owned() }), ..self }
    }

    /// Makes it a hidden definition: only references with its version bind to it.
    #[must_use]
    pub fn old(self) -> Self {
        Self { old: true, ..self }
    }

    fn is_findable(&self) -> bool {
        (self.section != 0 || self.value != 0) && self.bind != consts::STB_LOCAL
    }
}

/// DT_STRTAB under construction.
#[derive(Debug)]
pub(crate) struct Strings {
    pub(crate) bytes: Vec<u8>,
}

impl Strings {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0] }
    }

    /// Offset of a new copy of `string`.
    pub(crate) fn add(&mut self, string: &str) -> u32 {
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend(string.as_bytes());
        self.bytes.push(0);
        offset
    }
}

/// The symbols in the order of DT_SYMTAB: local, undefined, then by the buckets of DT_GNU_HASH.
#[derive(Debug)]
pub(crate) struct SymbolTable<'s> {
    symbols: Vec<&'s Symbol>,
    /// Index of the first symbol in DT_GNU_HASH; the null symbol is 0.
    first: usize,
    buckets: u32,
}

impl<'s> SymbolTable<'s> {
    pub(crate) fn new(symbols: &'s [Symbol]) -> Self {
        let findable = symbols.iter().filter(|symbol| symbol.is_findable()).count();
        let buckets = u32::try_from(findable / 2 + 1).unwrap_or(1);
        let mut symbols: Vec<_> = symbols.iter().collect();
        symbols.sort_by_key(|symbol| match symbol.is_findable() {
            true => (2, gnu_hash(symbol.name.as_bytes()) % buckets),
            false => (u32::from(symbol.bind != consts::STB_LOCAL), 0),
        });
        let first = symbols.len() - findable + 1;
        Self { symbols, first, buckets }
    }

    /// Index of a symbol; 0 for the empty name.
    pub(crate) fn index(&self, name: &str) -> Option<u64> {
        if name.is_empty() {
            return Some(0);
        }
        let position = self.symbols.iter().position(|symbol| symbol.name == name)?;
        u64::try_from(position + 1).ok()
    }

    pub(crate) fn symtab(&self, strings: &mut Strings) -> Vec<u8> {
        let mut table = vec![0; 24];
        for symbol in &self.symbols {
            table.extend(strings.add(&symbol.name).to_le_bytes());
            table.extend([symbol.bind << 4 | symbol.kind, symbol.other]);
            table.extend(symbol.section.to_le_bytes());
            table.extend(symbol.value.to_le_bytes());
            table.extend(symbol.size.to_le_bytes());
        }
        table
    }

    /// DT_GNU_HASH, with a filter of one word.
    pub(crate) fn gnu_hash(&self) -> Vec<u8> {
        const SHIFT: u32 = 6;
        let findable = self.symbols.get(self.first - 1..).unwrap_or_default();
        let hashes: Vec<u32> = findable.iter().map(|symbol| gnu_hash(symbol.name.as_bytes())).collect();
        let filter = hashes.iter().fold(0u64, |bits, hash| bits | 1 << (hash % 64) | 1 << ((hash >> SHIFT) % 64));
        let first = u32::try_from(self.first).unwrap_or(u32::MAX);
        let mut table = words([self.buckets, first, 1, SHIFT]);
        table.extend(filter.to_le_bytes());
        let bucket = |hash: u32| hash % self.buckets;
        for number in 0..self.buckets {
            let start = hashes.iter().position(|&hash| bucket(hash) == number);
            let start = start.and_then(|start| u32::try_from(start).ok());
            table.extend(start.map_or(0, |start| first + start).to_le_bytes());
        }
        for (index, &hash) in hashes.iter().enumerate() {
            let last = hashes.get(index + 1).is_none_or(|&next| bucket(next) != bucket(hash));
            table.extend((hash & !1 | u32::from(last)).to_le_bytes());
        }
        table
    }

    /// DT_HASH.
    pub(crate) fn sysv_hash(&self) -> Vec<u8> {
        let count = u32::try_from(self.symbols.len() + 1).unwrap_or(u32::MAX);
        let mut buckets: Vec<Vec<u32>> = (0..self.buckets).map(|_| Vec::new()).collect();
        for (symbol, index) in self.symbols.iter().zip(1u32..) {
            let number = hash(symbol.name.as_bytes()) % self.buckets;
            if let Some(bucket) = usize::try_from(number).ok().and_then(|number| buckets.get_mut(number)) {
                bucket.push(index);
            }
        }
        let mut chains = BTreeMap::new();
        for pair in buckets.iter().flat_map(|bucket| bucket.windows(2)) {
            if let [index, next] = pair {
                chains.insert(*index, *next);
            }
        }
        let mut table = words([self.buckets, count]);
        table.extend(words(buckets.iter().map(|bucket| bucket.first().copied().unwrap_or(0))));
        table.extend(words((0..count).map(|index| chains.get(&index).copied().unwrap_or(0))));
        table
    }

    /// The versions, if any symbol has one.
    pub(crate) fn versions(&self, strings: &mut Strings) -> Option<Versions> {
        // VER_NDX_LOCAL (0) and VER_NDX_GLOBAL (1, without a version) are taken.
        let mut numbered: Vec<&Version> = Vec::new();
        let versions = || self.symbols.iter().filter_map(|symbol| symbol.version.as_ref());
        let (defined, needed) =
            versions().partition::<Vec<_>, _>(|version| matches!(version, Version::Defined { .. }));
        for version in defined.into_iter().chain(needed) {
            if !numbered.contains(&version) {
                numbered.push(version);
            }
        }
        let number = |wanted: &Version| {
            numbered.iter().zip(2u16..).find_map(|(version, number)| (*version == wanted).then_some(number))
        };
        let mut versym = vec![0u8; 2];
        for symbol in &self.symbols {
            let unversioned = u16::from(symbol.bind != consts::STB_LOCAL);
            let number = symbol.version.as_ref().and_then(number).unwrap_or(unversioned);
            let hidden = if symbol.old { VERSYM_HIDDEN } else { 0 };
            versym.extend((number | hidden).to_le_bytes());
        }
        let mut definitions = Vec::new();
        let mut files: Vec<(&str, Vec<(&str, u16)>)> = Vec::new();
        for (version, number) in numbered.iter().zip(2u16..) {
            match version {
                Version::Defined { name } => definitions.push((name.as_str(), number)),
                Version::Needed { file, name } => match files.iter_mut().find(|(known, _)| known == file) {
                    Some((_, versions)) => versions.push((name, number)),
                    None => files.push((file, vec![(name, number)])),
                },
            }
        }
        let verdef = (verdef(&definitions, strings), u64::try_from(definitions.len()).ok()?);
        let verneed = (verneed(&files, strings), u64::try_from(files.len()).ok()?);
        (!numbered.is_empty()).then_some(Versions { versym, verdef, verneed })
    }
}

/// DT_VERDEF: versions with their numbers, each of one name.
fn verdef(versions: &[(&str, u16)], strings: &mut Strings) -> Vec<u8> {
    let mut table = Vec::new();
    for (index, (name, number)) in versions.iter().enumerate() {
        let next = if index + 1 == versions.len() { 0 } else { 28 };
        table.extend([1, 0, 0, 0]);
        table.extend(number.to_le_bytes());
        table.extend([1, 0]);
        table.extend(words([hash(name.as_bytes()), 20, next, strings.add(name), 0]));
    }
    table
}

/// DT_VERNEED: files, each with versions and their numbers.
fn verneed(files: &[(&str, Vec<(&str, u16)>)], strings: &mut Strings) -> Vec<u8> {
    let mut table = Vec::new();
    for (index, (file, versions)) in files.iter().enumerate() {
        let count = u16::try_from(versions.len()).unwrap_or(u16::MAX);
        let next = if index + 1 == files.len() { 0 } else { 16 + 16 * u32::from(count) };
        table.extend([1, 0]);
        table.extend(count.to_le_bytes());
        table.extend(words([strings.add(file), 16, next]));
        for (index, (version, number)) in versions.iter().enumerate() {
            let next = if index + 1 == versions.len() { 0 } else { 16 };
            table.extend(words([hash(version.as_bytes())]));
            table.extend([0, 0]);
            table.extend(number.to_le_bytes());
            table.extend(words([strings.add(version), next]));
        }
    }
    table
}

fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}
