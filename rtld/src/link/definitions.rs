//! The definitions of all objects of a scope, in one table by name: a lookup costs the same whatever the number of
//! objects, and however their own hash tables were made to look.
//!
//! A reference binds to the first definition in the scope that serves it. So of several definitions that serve the same
//! references, only the first is in the table. Which references a definition serves is as in [`symbol::lookup`].
#![forbid(unsafe_code)]

use core::num::NonZeroU64;
use core::ops::Range;

use crate::base::addr::{RuntimeAddr, from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Hash, Key};
use crate::elf::allowance::NameAllowance;
use crate::elf::symbol::{self, Name, is_canonical_plt, is_exported, is_resolver};
use crate::elf::version::{FIRST_VERSION, NeededVersions, defined, symbol_version};
use crate::elf::{Decode, Sym, consts, st_bind, st_type};
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::namespace::{Definition, Module, Namespace};
use crate::os::seam::Image;

/// Name of the stack protector's function. An object that refers to it has code that reads the canary from the TCB.
pub const STACK_CHK_FAIL: &[u8] = b"__stack_chk_fail";

/// The references that a definition serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Serves {
    /// All references.
    All,
    /// References without a version.
    Unversioned,
    /// References without a version, if no other definition of the object serves them.
    Otherwise,
    /// References with its version.
    Versioned,
    /// All references but those of PLT slots: the definition is a program's PLT slot for a function.
    Canonical,
}

impl Serves {
    /// The hash under which such a definition is in the table, given the hash of its name.
    fn mark(self, key: Key, name: Hash, version: &[u8]) -> Hash {
        // Most definitions serve all references: no second hash is computed for them.
        if self == Self::All { name } else { key.extend(name, self as u8, version) }
    }
}

/// A definition, and the hash under which it is found. A table may have hundreds of thousands.
#[derive(Clone, Copy, Debug)]
struct DefinitionEntry {
    /// Hash of the name, the references that it serves, and the version.
    hash: Hash,
    /// Run-time address, if a reference needs to know nothing else.
    address: Option<NonZeroU64>,
    order: Order,
}

/// The position of a definition in the order of the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// Position of its object in the scope, from 1 on.
    object: u32,
    /// Number of its symbol in the object.
    symbol: u32,
}

/// A slot of the table: an entry as words, so that zeroed memory is a table without entries. Half a cache line.
type Slot = [u64; 4];

impl DefinitionEntry {
    fn slot(self) -> Slot {
        let ([first, second], Order { object, symbol }) = (self.hash.words(), self.order);
        let address = self.address.map_or(0, NonZeroU64::get);
        [first, second, address, u64::from(object) << 32 | u64::from(symbol)]
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves are what is asked for")]
    fn of(slot: &Slot) -> Option<Self> {
        let [first, second, address, order] = *slot;
        let order = Order { object: (order >> 32) as u32, symbol: order as u32 };
        let entry = Self { hash: Hash::of([first, second]), address: NonZeroU64::new(address), order };
        (order.object != 0).then_some(entry)
    }
}

/// The address of a definition, unless a reference needs to know more than that.
fn plain<I: Image>(module: &Module<'_, I>, sym: &Sym) -> Option<NonZeroU64> {
    let special = is_resolver(sym) || st_type(sym) == consts::STT_TLS;
    if special || st_bind(sym) == consts::STB_GNU_UNIQUE { None } else { NonZeroU64::new(module.address(sym).0) }
}

/// A definition whose address is all that a reference needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAddress {
    /// Run-time address.
    pub address: RuntimeAddr,
    /// Number of the module that defines it.
    pub module: usize,
}

/// Number of names that are looked up at the same time.
const BATCH: usize = 16;

/// The table.
pub struct Definitions<'s> {
    key: Key,
    /// Numbers of the modules, in scope order.
    scope: &'s [usize],
    /// Open addressing by hash, with linear steps; never full.
    slots: &'s mut [Slot],
    /// Entries that are about to be added, and the references that they serve.
    batch: List<'s, (DefinitionEntry, Serves)>,
    /// Version names of the object that is being read, by version index, as offsets in its string table.
    versions: List<'s, Option<u32>>,
    /// The first definition that does not serve all references.
    particular: Option<Order>,
    /// Hash of [`STACK_CHK_FAIL`]. A reference to it must be noticed, so it is never answered without a search.
    watched: Hash,
}

impl<'s> Definitions<'s> {
    /// The table of the objects of `scope`, in `arena`.
    ///
    /// # Errors
    /// A table of an object is broken, or out of memory; the error names the object.
    pub fn of<'a, I: Image>(
        namespace: &Namespace<'a, I>,
        scope: &'s [usize],
        arena: &'s Arena,
    ) -> Result<Self, Error<'a>> {
        let (mut count, mut objects) = (0usize, List::new(arena));
        objects.reserve(scope.len()).of(namespace.module(0).path)?;
        for (object, &index) in (1..).zip(scope) {
            let Some(module) = namespace.get(index) else { continue };
            let listed = symbol::listed(&module.image, &module.dynamic).of(module.path)?;
            // A definition with a version may have two entries: for references with the version and without.
            let each = if module.dynamic.versym.is_some() { 2 } else { 1 };
            count = count.saturating_add(listed.len().saturating_mul(each));
            objects.push((object, module, listed)).of(module.path)?;
        }
        // The table is at most two thirds full.
        let size = count.saturating_add(count / 2).wrapping_add(1);
        let slots = arena.zeroed(size).of(namespace.module(0).path)?;
        let key = namespace.key();
        let watched = key.hash(STACK_CHK_FAIL);
        let (batch, versions) = (List::new(arena), List::new(arena));
        let mut definitions = Self { key, scope, slots, batch, versions, particular: None, watched };
        for (object, module, listed) in objects.iter() {
            definitions.read(*object, module, listed).of(module.path)?;
        }
        Ok(definitions)
    }

    fn read<I: Image>(
        &mut self,
        object: u32,
        module: &Module<'_, I>,
        listed: &Range<u32>,
    ) -> Result<(), Failure<'static>> {
        let Module { image, dynamic, .. } = module;
        self.versions.truncate(0);
        defined(image, dynamic, |number, name| {
            self.versions.put_first(number.into(), name)?;
            Ok(false)
        })?;
        let strings = dynamic.strings.from(image, 0).unwrap_or_default();
        let symbols = dynamic.symbols.bytes(image, listed.end)?;
        let mut names = NameAllowance::of(dynamic);
        sweep(strings);
        for (symbol, place) in
            (0..listed.end).zip(symbols.chunks_exact(Sym::SIZE)).skip(to_usize(listed.start.into()))
        {
            let sym = Sym::decode(place);
            let canonical = is_canonical_plt(&sym);
            if !canonical && !is_exported(&sym) {
                continue;
            }
            let (name, length) =
                hash(self.key, strings, &sym).ok_or(Problem::BadString { offset: sym.st_name.into() })?;
            names.take(length)?;
            let version = if canonical { None } else { symbol_version(image, dynamic, symbol)? };
            let serves = match version.map(|version| (version.number, version.hidden)) {
                None if canonical => Some(Serves::Canonical),
                None | Some((..=consts::VER_NDX_GLOBAL, false)) => Some(Serves::All),
                Some((..=FIRST_VERSION, _)) => Some(Serves::Unversioned),
                Some((_, false)) => Some(Serves::Otherwise),
                Some((_, true)) => None,
            };
            let order = Order { object, symbol };
            let entry = DefinitionEntry { hash: name, address: plain(module, &sym), order };
            if let Some(serves) = serves {
                let hash = serves.mark(self.key, name, b"");
                self.batch.push((DefinitionEntry { hash, ..entry }, serves))?;
            }
            let version = version.map_or(0, |version| version.number);
            if let Some(&Some(version)) = self.versions.get(usize::from(version)) {
                let version = dynamic.strings.get(image, version.into())?;
                let hash = Serves::Versioned.mark(self.key, name, version);
                self.batch.push((DefinitionEntry { hash, ..entry }, Serves::Versioned))?;
            }
            if self.batch.len() >= BATCH {
                self.add_batch();
            }
        }
        self.add_batch();
        Ok(())
    }

    fn add_batch(&mut self) {
        // Slots are rarely in the cache: load all of a batch at once, as in `find_all`.
        for (entry, _) in self.batch.iter() {
            self.bring_in(entry.hash);
        }
        for number in 0..self.batch.len() {
            if let Some(&(entry, serves)) = self.batch.get(number) {
                self.add(entry, serves);
            }
        }
        self.batch.truncate(0);
    }

    /// Adds a definition, unless an earlier one serves the same references.
    fn add(&mut self, entry: DefinitionEntry, serves: Serves) {
        if serves != Serves::All {
            self.particular = self.particular.or(Some(entry.order));
        }
        if let Err(place) = self.look(entry.hash)
            && let Some(slot) = self.slots.get_mut(place)
        {
            *slot = entry.slot();
        }
    }

    /// Index of the slot where the entry for a hash belongs: the hash, scaled to the size of the table.
    fn place(&self, hash: Hash) -> usize {
        // The product does not wrap: no table has 2^32 slots, because so many symbols do not fit into memory.
        to_usize(u64::from(hash.fold()).wrapping_mul(from_usize(self.slots.len())) >> 32)
    }

    /// Loads the slot for a hash into the cache. The processor can have several such loads under way.
    fn bring_in(&self, hash: Hash) {
        core::hint::black_box(self.slots.get(self.place(hash)).and_then(|slot| slot.first()).copied());
    }

    /// The entry for a hash, or else the index of the slot where it belongs.
    #[inline(always)]
    fn look(&self, hash: Hash) -> Result<DefinitionEntry, usize> {
        let mut place = self.place(hash);
        // Never full, so this ends.
        loop {
            let entry = self.slots.get(place).and_then(DefinitionEntry::of).ok_or(place)?;
            if entry.hash == hash {
                return Ok(entry);
            }
            place = place.wrapping_add(1);
            if place == self.slots.len() {
                place = 0;
            }
        }
    }

    /// Whether an entry comes before all definitions that do not serve every reference. Then it is the answer, whatever
    /// the reference.
    fn is_simple(&self, entry: &DefinitionEntry) -> bool {
        self.particular.is_none_or(|particular| entry.order < particular)
    }

    /// Number of the module of an entry.
    fn module(&self, entry: &DefinitionEntry) -> Option<usize> {
        self.scope.get(to_usize(entry.order.object.checked_sub(1)?.into())).copied()
    }

    fn definition<I: Image>(&self, namespace: &Namespace<'_, I>, entry: &DefinitionEntry) -> Option<Definition> {
        let module = self.module(entry)?;
        let Module { image, dynamic, .. } = namespace.get(module)?;
        Some(Definition { module, sym: dynamic.symbols.get(image, entry.order.symbol).ok()? })
    }

    /// The answer for a name, if its entry alone decides.
    #[inline(always)]
    fn known(&self, name: Hash) -> Option<KnownAddress> {
        let entry = self.look(name).ok().filter(|entry| self.is_simple(entry) && name != self.watched)?;
        Some(KnownAddress { address: RuntimeAddr(entry.address?.get()), module: self.module(&entry)? })
    }

    /// The answers for the undefined symbols of an object, for all numbers below `end` in order: the result of
    /// [`Definitions::find`], where that is a plain address and the entry for the name alone decides; `None` otherwise.
    ///
    /// Each answer waits for a load from memory. The loops are short enough for the processor to run several rounds at
    /// once, so the waits overlap.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn find_all<I: Image>(
        &self,
        module: &Module<'_, I>,
        needed: &NeededVersions<'_>,
        end: u32,
        answers: &mut List<'s, Option<KnownAddress>>,
    ) -> Result<(), OutOfMemory> {
        let Module { image, dynamic, .. } = module;
        answers.truncate(0);
        if !needed.is_empty() {
            return Ok(());
        }
        // A broken table is reported when a reference uses it.
        let (Ok(strings), Ok(symbols)) = (dynamic.strings.from(image, 0), dynamic.symbols.bytes(image, end))
        else {
            return Ok(());
        };
        answers.reserve(to_usize(end.into()))?;
        let mut names = NameAllowance::of(dynamic);
        sweep(strings);
        for symbols in symbols.chunks(Sym::SIZE.saturating_mul(BATCH)) {
            let mut batch = [None; BATCH];
            for (place, sym) in batch.iter_mut().zip(symbols.chunks_exact(Sym::SIZE).map(Sym::decode)) {
                let foreign = u32::from(sym.st_shndx) == consts::SHN_UNDEF && st_bind(&sym) != consts::STB_LOCAL;
                let name = hash(self.key, strings, &sym).filter(|_| foreign);
                // What is not answered here is searched for one by one, and refused there.
                if name.is_some_and(|(_, length)| names.take(length).is_err()) {
                    return Ok(());
                }
                *place = name.map(|(hash, _)| hash);
            }
            for hash in batch.iter().flatten() {
                self.bring_in(*hash);
            }
            for (hash, _) in batch.iter().zip(symbols.chunks_exact(Sym::SIZE)) {
                answers.push(hash.and_then(|hash| self.known(hash)))?;
            }
        }
        Ok(())
    }

    /// The first definition in the scope that serves a reference. `namespace` is the one that the table was made of.
    #[must_use]
    pub fn find<I: Image>(&self, namespace: &Namespace<'_, I>, name: &Name<'_>) -> Option<Definition> {
        let hash = self.key.hash(name.bytes);
        let look = |serves: Serves, version: &[u8]| self.look(serves.mark(self.key, hash, version)).ok();
        let all = look(Serves::All, b"");
        if let Some(entry) = all.filter(|entry| self.is_simple(entry)) {
            return self.definition(namespace, &entry);
        }
        let (versioned, otherwise) = match name.version {
            None => (look(Serves::Unversioned, b""), look(Serves::Otherwise, b"")),
            Some(version) => (look(Serves::Versioned, version), None),
        };
        let canonical = if name.canonical { look(Serves::Canonical, b"") } else { None };
        let found = [all, versioned, canonical, otherwise];
        let first = found.iter().flatten().map(|entry| entry.order.object).min()?;
        let entry = found.into_iter().flatten().find(|entry| entry.order.object == first)?;
        self.definition(namespace, &entry)
    }
}

/// Loads strings into the cache, one line after the other.
fn sweep(strings: &[u8]) {
    // Longer tables would push their own lines out of the cache again.
    const MOST: usize = 128 << 10;
    const LINE: usize = 64;
    if strings.len() <= MOST {
        let lines = strings.chunks(LINE).filter_map(<[u8]>::first);
        core::hint::black_box(lines.fold(0u8, |all, byte| all ^ byte));
    }
}

/// Hash of a symbol's name; `None` if the name is not inside the string table.
fn hash(key: Key, strings: &[u8], sym: &Sym) -> Option<(Hash, usize)> {
    key.hash_terminated(strings.get(to_usize(sym.st_name.into())..)?)
}
