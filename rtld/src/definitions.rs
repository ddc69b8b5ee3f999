//! What the objects of a scope define, in one table by name: a lookup costs the same however many objects there are, and
//! whatever their own hash tables were made to look like.
//!
//! The first definition of the scope that serves a reference is the one; so of those that serve the same references only
//! the first is in the table. What serves what is as in [`symbol::lookup`].
#![forbid(unsafe_code)]

use crate::addr::to_usize;
use crate::arena::{Arena, List, OutOfMemory};
use crate::elf::{Decode, Sym, consts, st_bind};
use crate::error::{Error, Failure, OfObject, Problem};
use crate::hash::{Hash, Key, Numbers};
use crate::namespace::{Definition, Module, Namespace};
use crate::seam::Image;
use crate::symbol::{self, Name, is_canonical_plt, is_exported};
use crate::version::{FIRST_VERSION, NeededVersions, defined, symbol_version};

/// Whoever refers to it has code that reads the canary from the TCB.
pub const STACK_CHK_FAIL: &[u8] = b"__stack_chk_fail";

/// Which references a definition serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Serves {
    /// All.
    All,
    /// Those without a version.
    Unversioned,
    /// Those with its version.
    Versioned,
    /// All that are not a PLT slot's: it is the PLT slot that a program has for a function.
    Canonical,
}

impl Serves {
    /// What stands for a name among those that serve such references.
    fn mark(self, key: Key, name: Hash, version: &[u8]) -> Hash {
        // Most serve all.
        if self == Self::All { name } else { key.extend(name, self as u8, version) }
    }
}

/// A definition, and what it is found by.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of the name, which references it serves, and the version.
    hash: Hash,
    sym: Sym,
    module: u32,
    /// Whether it serves only if the object has nothing else that does.
    otherwise: bool,
    /// Whether it serves all references.
    simple: bool,
}

impl Entry {
    fn definition(&self) -> Definition {
        Definition { module: to_usize(self.module.into()), sym: self.sym }
    }
}

/// How many names are looked for at the same time.
const BATCH: usize = 16;

/// The table.
pub struct Definitions<'s> {
    key: Key,
    arena: &'s Arena,
    /// In the order of the scope.
    entries: List<'s, Entry>,
    numbers: Numbers<'s>,
    /// Entries on their way into the table.
    batch: List<'s, Entry>,
    /// Names of the versions of the object that is read, by number.
    versions: List<'s, Option<u32>>,
    /// How many entries there are before the first that does not serve all references.
    simple: usize,
    /// The entry for a name that is to be seen, whoever defines it.
    watched: Option<u32>,
}

impl<'s> Definitions<'s> {
    /// Of the objects of `scope`, in `arena`.
    pub fn of<'a, I: Image>(
        namespace: &Namespace<'a, I>,
        scope: impl Iterator<Item = usize> + Clone,
        arena: &'s Arena,
    ) -> Result<Self, Error<'a>> {
        let mut definitions = Self {
            key: namespace.key(),
            arena,
            entries: List::new(arena),
            numbers: Numbers::default(),
            batch: List::new(arena),
            versions: List::new(arena),
            simple: 0,
            watched: None,
        };
        let mut count = 0usize;
        for module in scope.clone().filter_map(|index| namespace.get(index)) {
            let listed = symbol::listed(&module.image, &module.dynamic).of(module.path)?;
            // A definition with a version may serve references with it and without.
            let each = if module.dynamic.versym.is_some() { 2 } else { 1 };
            count = count.saturating_add(listed.len().saturating_mul(each));
        }
        let path = namespace.module(0).path;
        definitions.numbers.reserve(arena, count).of(path)?;
        definitions.entries.reserve(count).of(path)?;
        for index in scope {
            if let Some(module) = namespace.get(index) {
                definitions.read(index, module).of(module.path)?;
            }
        }
        let watched = definitions.key.hash(STACK_CHK_FAIL);
        definitions.watched = definitions.number(watched);
        Ok(definitions)
    }

    fn read<I: Image>(&mut self, index: usize, module: &Module<'_, I>) -> Result<(), Failure<'static>> {
        let Module { image, dynamic, .. } = module;
        let index = u32::try_from(index).map_err(|_| OutOfMemory(usize::MAX))?;
        self.versions.truncate(0);
        defined(image, dynamic, |number, name| {
            self.versions.put_first(number.into(), name)?;
            Ok(false)
        })?;
        let listed = symbol::listed(image, dynamic)?;
        let strings = dynamic.strings.from(image, 0).unwrap_or_default();
        let symbols = dynamic.symbols.bytes(image, listed.end)?;
        for (symbol, place) in
            (0..listed.end).zip(symbols.chunks_exact(Sym::SIZE)).skip(to_usize(listed.start.into()))
        {
            if to_usize(symbol.wrapping_sub(listed.start).into()).is_multiple_of(BATCH) {
                read_ahead(
                    strings,
                    symbols.get(to_usize(symbol.into()).saturating_mul(Sym::SIZE)..).unwrap_or_default(),
                );
            }
            let sym = Sym::decode(place);
            let canonical = is_canonical_plt(&sym);
            if !canonical && !is_exported(&sym) {
                continue;
            }
            let name = hash(self.key, strings, &sym).ok_or(Problem::BadString { offset: sym.st_name.into() })?;
            let version = if canonical { None } else { symbol_version(image, dynamic, symbol)? };
            let (serves, otherwise) = match version.map(|version| (version.number, version.hidden)) {
                None if canonical => (Some(Serves::Canonical), false),
                None | Some((..=consts::VER_NDX_GLOBAL, false)) => (Some(Serves::All), false),
                Some((..=FIRST_VERSION, _)) => (Some(Serves::Unversioned), false),
                Some((_, false)) => (Some(Serves::Unversioned), true),
                Some((_, true)) => (None, false),
            };
            if let Some(serves) = serves {
                let hash = serves.mark(self.key, name, b"");
                let simple = serves == Serves::All;
                self.batch.push(Entry { hash, sym, module: index, otherwise, simple })?;
            }
            let number = version.map_or(0, |version| version.number);
            if let Some(&Some(version)) = self.versions.get(usize::from(number)) {
                let version = dynamic.strings.get(image, version.into())?;
                let hash = Serves::Versioned.mark(self.key, name, version);
                self.batch.push(Entry { hash, sym, module: index, otherwise: false, simple: false })?;
            }
            if self.batch.len() >= BATCH {
                self.add_batch()?;
            }
        }
        Ok(self.add_batch()?)
    }

    fn add_batch(&mut self) -> Result<(), OutOfMemory> {
        // The places in the table are far away: as in `find_all`.
        for entry in self.batch.iter() {
            core::hint::black_box(self.numbers.first(entry.hash.fold()));
        }
        for number in 0..self.batch.len() {
            if let Some(&entry) = self.batch.get(number) {
                self.add(entry)?;
            }
        }
        self.batch.truncate(0);
        Ok(())
    }

    /// Adds a definition, if no earlier one serves the same references.
    fn add(&mut self, entry: Entry) -> Result<(), OutOfMemory> {
        let number = u32::try_from(self.entries.len()).map_err(|_| OutOfMemory(usize::MAX))?;
        let Self { arena, numbers, entries, .. } = self;
        let same =
            |number: u32| entries.get(to_usize(number.into())).is_some_and(|known| known.hash == entry.hash);
        if let Some(known) = numbers.find_or_insert(arena, entry.hash.fold(), number, same)? {
            if let Some(known) = self.entries.get_mut(to_usize(known.into()))
                && known.otherwise
                && known.module == entry.module
            {
                *known = entry;
            }
            return Ok(());
        }
        self.entries.push(entry)?;
        if entry.simple && self.simple.saturating_add(1) == self.entries.len() {
            self.simple = self.entries.len();
        }
        Ok(())
    }

    /// Whether an entry comes before all that do not serve every reference: nothing else is to be asked for then.
    fn is_simple(&self, number: u32) -> bool {
        to_usize(number.into()) < self.simple
    }

    /// The number of an entry.
    fn number(&self, hash: Hash) -> Option<u32> {
        self.numbers.find(hash.fold(), |number| {
            self.entries.get(to_usize(number.into())).is_some_and(|entry| entry.hash == hash)
        })
    }

    /// Answers for the symbols that an object does not define, those before `end`, in the order of their numbers: what
    /// [`Definitions::find`] would find for each, where that is known without a search.
    ///
    /// Each takes two reads from far away. Loops so short that the processor is in several rounds at once let it wait for
    /// them together.
    pub fn find_all<I: Image>(
        &self,
        module: &Module<'_, I>,
        needed: &NeededVersions<'_>,
        end: u32,
        answers: &mut List<'s, Option<Definition>>,
    ) -> Result<(), OutOfMemory> {
        let Module { image, dynamic, .. } = module;
        answers.truncate(0);
        if !needed.is_empty() {
            return Ok(());
        }
        // Whoever refers to a symbol will say what is wrong with it.
        let (Ok(strings), Ok(symbols)) = (dynamic.strings.from(image, 0), dynamic.symbols.bytes(image, end))
        else {
            return Ok(());
        };
        answers.reserve(to_usize(end.into()))?;
        for symbols in symbols.chunks(Sym::SIZE.saturating_mul(BATCH)) {
            let mut batch = [(None, u32::MAX); BATCH];
            read_ahead(strings, symbols);
            for ((place, _), sym) in batch.iter_mut().zip(symbols.chunks_exact(Sym::SIZE).map(Sym::decode)) {
                let foreign = u32::from(sym.st_shndx) == consts::SHN_UNDEF && st_bind(&sym) != consts::STB_LOCAL;
                let Some(name) = hash(self.key, strings, &sym).filter(|_| foreign) else { continue };
                *place = Some(name);
            }
            for (hash, number) in &mut batch {
                *number = hash.and_then(|hash| self.numbers.find(hash.fold(), |_| true)).unwrap_or(u32::MAX);
            }
            for ((hash, number), _) in batch.iter().zip(symbols.chunks_exact(Sym::SIZE)) {
                let entry = self.entries.get(to_usize((*number).into())).filter(|_| self.is_simple(*number));
                let entry = entry.filter(|entry| Some(entry.hash) == *hash && self.watched != Some(*number));
                answers.push(entry.map(Entry::definition))?;
            }
        }
        Ok(())
    }

    /// The first definition of the scope that serves a reference.
    #[must_use]
    pub fn find(&self, name: &Name<'_>) -> Option<Definition> {
        let hash = self.key.hash(name.bytes);
        let look = |serves: Serves, version: &[u8]| {
            let number = self.number(serves.mark(self.key, hash, version))?;
            Some((number, self.entries.get(to_usize(number.into()))?))
        };
        let all = look(Serves::All, b"");
        if let Some((_, entry)) = all.filter(|(number, _)| self.is_simple(*number)) {
            return Some(entry.definition());
        }
        let versioned = match name.version {
            None => look(Serves::Unversioned, b""),
            Some(version) => look(Serves::Versioned, version),
        };
        let canonical = if name.canonical { look(Serves::Canonical, b"") } else { None };
        let found = [all, versioned, canonical];
        let (_, first) = found.into_iter().flatten().min_by_key(|(number, _)| *number)?;
        let mut same_object = found.into_iter().flatten().map(|(_, entry)| entry);
        let better = |entry: &&Entry| entry.module == first.module && !entry.otherwise;
        Some(same_object.find(better).unwrap_or(first).definition())
    }
}

/// Has the names of the first symbols brought in from where they are, all at the same time.
fn read_ahead(strings: &[u8], symbols: &[u8]) {
    for sym in symbols.chunks_exact(Sym::SIZE).take(BATCH).map(Sym::decode) {
        core::hint::black_box(strings.get(to_usize(sym.st_name.into())).copied());
    }
}

/// Hash of a symbol's name.
fn hash(key: Key, strings: &[u8], sym: &Sym) -> Option<Hash> {
    key.hash_terminated(strings.get(to_usize(sym.st_name.into())..)?)
}
