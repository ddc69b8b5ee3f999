//! What the objects of a scope define, in one table by name: a lookup costs the same however many objects there are, and
//! whatever their own hash tables were made to look like.
//!
//! The first definition of the scope that serves a reference is the one; so of those that serve the same references only
//! the first is in the table. What serves what is as in [`symbol::lookup`].
#![forbid(unsafe_code)]

use core::num::NonZeroU64;
use core::ops::Range;

use crate::base::addr::{RuntimeAddr, from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Hash, Key};
use crate::elf::symbol::{self, Name, is_canonical_plt, is_exported};
use crate::elf::version::{FIRST_VERSION, NeededVersions, defined, symbol_version};
use crate::elf::{Decode, Sym, consts, st_bind, st_type};
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::namespace::{Definition, Module, Namespace};
use crate::os::seam::Image;

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
    /// The same, if the object has nothing else that does.
    Otherwise,
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

/// A definition, and what it is found by. There may be hundreds of thousands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of the name, which references it serves, and the version.
    hash: Hash,
    /// Where it is, if that is all that a reference needs to know.
    address: Option<NonZeroU64>,
    order: Order,
}

/// Which definition it is, in the order of the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// The number of its object in the scope, from 1 on.
    object: u32,
    /// Its number among the object's symbols.
    symbol: u32,
}

/// A place in the table: an entry as words, so that memory that is zero is a table without entries. Half a cache line.
type Slot = [u64; 4];

impl Entry {
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

/// The address of a definition that is nothing but an address.
fn plain<I: Image>(module: &Module<'_, I>, sym: &Sym) -> Option<NonZeroU64> {
    let special = matches!(st_type(sym), consts::STT_GNU_IFUNC | consts::STT_TLS);
    if special || st_bind(sym) == consts::STB_GNU_UNIQUE { None } else { NonZeroU64::new(module.address(sym).0) }
}

/// What a reference was found to mean: an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub address: RuntimeAddr,
    /// Who defines it.
    pub module: usize,
}

/// How many names are looked for at the same time.
const BATCH: usize = 16;

/// The table.
pub struct Definitions<'s> {
    key: Key,
    /// The modules.
    scope: &'s [usize],
    /// By hash, with linear steps, and never full.
    slots: &'s mut [Slot],
    /// Entries on their way into the table, and what they serve.
    batch: List<'s, (Entry, Serves)>,
    /// Names of the versions of the object that is read, by number.
    versions: List<'s, Option<u32>>,
    /// The first definition that does not serve all references.
    particular: Option<Order>,
    /// The name that is to be seen, whoever defines it.
    watched: Hash,
}

impl<'s> Definitions<'s> {
    /// Of the objects of `scope`, in `arena`.
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
            // A definition with a version may serve references with it and without.
            let each = if module.dynamic.versym.is_some() { 2 } else { 1 };
            count = count.saturating_add(listed.len().saturating_mul(each));
            objects.push((object, module, listed)).of(module.path)?;
        }
        // At most two thirds full.
        let size = count.saturating_add(count / 2).saturating_add(1);
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
        sweep(strings);
        for (symbol, place) in
            (0..listed.end).zip(symbols.chunks_exact(Sym::SIZE)).skip(to_usize(listed.start.into()))
        {
            let sym = Sym::decode(place);
            let canonical = is_canonical_plt(&sym);
            if !canonical && !is_exported(&sym) {
                continue;
            }
            let name = hash(self.key, strings, &sym).ok_or(Problem::BadString { offset: sym.st_name.into() })?;
            let version = if canonical { None } else { symbol_version(image, dynamic, symbol)? };
            let serves = match version.map(|version| (version.number, version.hidden)) {
                None if canonical => Some(Serves::Canonical),
                None | Some((..=consts::VER_NDX_GLOBAL, false)) => Some(Serves::All),
                Some((..=FIRST_VERSION, _)) => Some(Serves::Unversioned),
                Some((_, false)) => Some(Serves::Otherwise),
                Some((_, true)) => None,
            };
            let order = Order { object, symbol };
            let entry = Entry { hash: name, address: plain(module, &sym), order };
            if let Some(serves) = serves {
                let hash = serves.mark(self.key, name, b"");
                self.batch.push((Entry { hash, ..entry }, serves))?;
            }
            let version = version.map_or(0, |version| version.number);
            if let Some(&Some(version)) = self.versions.get(usize::from(version)) {
                let version = dynamic.strings.get(image, version.into())?;
                let hash = Serves::Versioned.mark(self.key, name, version);
                self.batch.push((Entry { hash, ..entry }, Serves::Versioned))?;
            }
            if self.batch.len() >= BATCH {
                self.add_batch();
            }
        }
        self.add_batch();
        Ok(())
    }

    fn add_batch(&mut self) {
        // The places in the table are far away: as in `find_all`.
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

    /// Adds a definition, if no earlier one serves the same references.
    fn add(&mut self, entry: Entry, serves: Serves) {
        if serves != Serves::All {
            self.particular = self.particular.or(Some(entry.order));
        }
        if let Err(place) = self.look(entry.hash)
            && let Some(slot) = self.slots.get_mut(place)
        {
            *slot = entry.slot();
        }
    }

    /// Where the entry for a hash belongs: as far into the table as the hash is into all hashes.
    fn place(&self, hash: Hash) -> usize {
        // No table has as many slots as there are addresses for: 2^32 symbols do not fit.
        to_usize(u64::from(hash.fold()).wrapping_mul(from_usize(self.slots.len())) >> 32)
    }

    /// Has the entry for a hash brought in from where it is, while others are.
    fn bring_in(&self, hash: Hash) {
        core::hint::black_box(self.slots.get(self.place(hash)).and_then(|slot| slot.first()).copied());
    }

    /// The entry for a hash, or else the place where it belongs.
    #[inline(always)]
    fn look(&self, hash: Hash) -> Result<Entry, usize> {
        let mut place = self.place(hash);
        // Never full, so this ends.
        loop {
            let entry = self.slots.get(place).and_then(Entry::of).ok_or(place)?;
            if entry.hash == hash {
                return Ok(entry);
            }
            place = place.wrapping_add(1);
            if place == self.slots.len() {
                place = 0;
            }
        }
    }

    /// Whether an entry comes before all that do not serve every reference: nothing else is to be asked for then.
    fn is_simple(&self, entry: &Entry) -> bool {
        self.particular.is_none_or(|particular| entry.order < particular)
    }

    /// The module of an entry.
    fn module(&self, entry: &Entry) -> Option<usize> {
        self.scope.get(to_usize(entry.order.object.checked_sub(1)?.into())).copied()
    }

    fn definition<I: Image>(&self, namespace: &Namespace<'_, I>, entry: &Entry) -> Option<Definition> {
        let module = self.module(entry)?;
        let Module { image, dynamic, .. } = namespace.get(module)?;
        Some(Definition { module, sym: dynamic.symbols.get(image, entry.order.symbol).ok()? })
    }

    /// What is known of a name without asking for more than the entry for it.
    #[inline(always)]
    fn known(&self, name: Hash) -> Option<Known> {
        let entry = self.look(name).ok().filter(|entry| self.is_simple(entry) && name != self.watched)?;
        Some(Known { address: RuntimeAddr(entry.address?.get()), module: self.module(&entry)? })
    }

    /// Answers for the symbols that an object does not define, those before `end`, in the order of their numbers: what
    /// [`Definitions::find`] would find for each, where that is an address, and known without a search.
    ///
    /// Each takes a read from far away. Loops so short that the processor is in several rounds at once let it wait for
    /// them together.
    pub fn find_all<I: Image>(
        &self,
        module: &Module<'_, I>,
        needed: &NeededVersions<'_>,
        end: u32,
        answers: &mut List<'s, Option<Known>>,
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
        sweep(strings);
        for symbols in symbols.chunks(Sym::SIZE.saturating_mul(BATCH)) {
            let mut batch = [None; BATCH];
            for (place, sym) in batch.iter_mut().zip(symbols.chunks_exact(Sym::SIZE).map(Sym::decode)) {
                let foreign = u32::from(sym.st_shndx) == consts::SHN_UNDEF && st_bind(&sym) != consts::STB_LOCAL;
                *place = hash(self.key, strings, &sym).filter(|_| foreign);
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

    /// The first definition of the scope that serves a reference, given the objects that it was made of.
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

/// Has strings brought in from where they are, one line of the cache after the other.
fn sweep(strings: &[u8]) {
    // More would push each other out again.
    const MOST: usize = 128 << 10;
    const LINE: usize = 64;
    if strings.len() <= MOST {
        let lines = strings.chunks(LINE).filter_map(<[u8]>::first);
        core::hint::black_box(lines.fold(0u8, |all, byte| all ^ byte));
    }
}

/// Hash of a symbol's name.
fn hash(key: Key, strings: &[u8], sym: &Sym) -> Option<Hash> {
    key.hash_terminated(strings.get(to_usize(sym.st_name.into())..)?)
}
