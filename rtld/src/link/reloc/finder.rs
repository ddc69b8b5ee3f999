//! The lookup of references: object by object while there are few lookups, by a table of all definitions once that
//! pays.
#![forbid(unsafe_code)]

use crate::base::addr::{from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::elf::symbol::{self, Name};
use crate::elf::version::NeededVersions;
use crate::error::{Error, OfObject};
use crate::link::definitions::{Definitions, KnownAddress};
use crate::link::namespace::{Definition, Namespace};
use crate::os::seam::Image;

/// The modules to relocate, and their scope.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'r> {
    /// Numbers of the modules to relocate.
    pub fresh: &'r [usize],
    /// Modules that are in their scope besides the global ones: those that came with the same open. Empty at the start.
    pub local: &'r [usize],
}

/// Number of entries that may be examined object by object, before a table is considered.
const FREE: u64 = 2048;

/// Cost of reading a symbol into the table, in examined entries (measured).
const LOOKS: u64 = 3;

/// Looks up the references of the modules that are being relocated.
pub(super) struct Finder<'s> {
    arena: &'s Arena,
    /// Number of entries examined without a table, and the number from which a table pays.
    work: u64,
    limit: u64,
    /// Definitions of the scope that all modules share.
    shared: Option<Definitions<'s>>,
    /// Definitions of a module itself (DF_SYMBOLIC), and of all modules but one (COPY).
    own: Option<(usize, Definitions<'s>)>,
    others: Option<(usize, Definitions<'s>)>,
    /// Answers for the undefined symbols of the present module.
    answers: List<'s, Option<KnownAddress>>,
}

/// The definitions that may serve a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// All of the scope.
    All,
    /// All of the scope but those of the module itself.
    Others,
}

impl<'s> Finder<'s> {
    pub(super) fn new(arena: &'s Arena) -> Self {
        Self { arena, work: 0, limit: FREE, shared: None, own: None, others: None, answers: List::new(arena) }
    }

    /// Prepares for the references of all modules: makes the table at once, if their number shows that it pays.
    pub(super) fn begin<'a, I: Image>(
        &mut self,
        namespace: &Namespace<'a, I>,
        objects: &Targets<'_>,
    ) -> Result<(), Error<'a>> {
        let Some(&first) = objects.fresh.first() else { return Ok(()) };
        let scope = || namespace.shared_scope(first, objects.local);
        let modules = objects.fresh.iter().filter_map(|&index| namespace.get(index));
        let references = modules.map(|module| u64::from(symbol::first_listed(&module.dynamic)));
        // On average, each reference would be looked up in half of the objects.
        let looks = references.fold(0, u64::saturating_add).saturating_mul(from_usize(scope().count())) / 2;
        if looks > FREE && looks > listed(namespace, &mut scope())?.saturating_mul(LOOKS) {
            self.shared = Some(definitions(namespace, &mut scope(), self.arena)?);
        }
        Ok(())
    }

    /// Makes `from` the present module.
    pub(super) fn turn_to<I: Image>(
        &mut self,
        namespace: &Namespace<'_, I>,
        versions: &NeededVersions<'_>,
        from: usize,
    ) -> Result<(), OutOfMemory> {
        self.answers.truncate(0);
        let module = namespace.module(from);
        if let Some(shared) = self.shared.as_ref().filter(|_| !namespace.is_symbolic(from)) {
            shared.find_all(module, versions, symbol::first_listed(&module.dynamic), &mut self.answers)?;
        }
        Ok(())
    }

    /// The answer for a symbol of the present module, if it needs no search.
    pub(super) fn known(&self, symbol: u32) -> Option<KnownAddress> {
        *self.answers.get(to_usize(symbol.into()))?
    }

    /// The definition of `name` for module `from`, one of `objects`.
    pub(super) fn find<'a, I: Image>(
        &mut self,
        namespace: &Namespace<'a, I>,
        objects: &Targets<'_>,
        from: usize,
        name: &Name<'_>,
        among: Among,
    ) -> Result<Option<Definition>, Error<'a>> {
        let scope = || {
            let shared = namespace.shared_scope(from, objects.local);
            shared.filter(move |&index| among == Among::All || index != from)
        };
        let symbolic = among == Among::All && namespace.is_symbolic(from);
        if !self.table_pays(namespace, &mut scope())? {
            let mut scope = symbolic.then_some(from).into_iter().chain(scope());
            return namespace.lookup(&mut scope, name, &mut self.work);
        }
        if symbolic {
            let own = table(&mut self.own, namespace, from, &mut [from].into_iter(), self.arena)?;
            if let Some(found) = own.find(namespace, name) {
                return Ok(Some(found));
            }
        }
        let definitions = match (among, &mut self.shared) {
            (Among::Others, _) => table(&mut self.others, namespace, from, &mut scope(), self.arena)?,
            (Among::All, Some(shared)) => shared,
            (Among::All, shared) => shared.insert(definitions(namespace, &mut scope(), self.arena)?),
        };
        Ok(definitions.find(namespace, name))
    }

    /// Whether the lookups so far have cost as much as a table would have.
    fn table_pays<'a, I: Image>(
        &mut self,
        namespace: &Namespace<'a, I>,
        scope: &mut dyn Iterator<Item = usize>,
    ) -> Result<bool, Error<'a>> {
        if cfg!(fuzzing) {
            // A fuzzer's files are too small for a table to pay. Lookups in single objects are fuzzed on their own.
            return Ok(true);
        }
        if self.limit == FREE && self.work > FREE {
            // Close to the limit: compute it.
            self.limit = listed(namespace, scope)?.max(FREE.wrapping_add(1));
        }
        Ok(self.shared.is_some() || self.work > self.limit)
    }
}

/// Number of symbols that the hash tables of the scope's objects list.
fn listed<'a, I: Image>(
    namespace: &Namespace<'a, I>,
    scope: &mut dyn Iterator<Item = usize>,
) -> Result<u64, Error<'a>> {
    let modules = scope.filter_map(|index| namespace.get(index));
    let counts = modules.map(|module| symbol::listed(&module.image, &module.dynamic).of(module.path));
    counts
        .map(|listed| Ok(from_usize(listed?.len())))
        .try_fold(0, |sum: u64, count| Ok(sum.saturating_add(count?)))
}

/// A table of the definitions of a scope's objects.
fn definitions<'a, 's, I: Image>(
    namespace: &Namespace<'a, I>,
    scope: &mut dyn Iterator<Item = usize>,
    arena: &'s Arena,
) -> Result<Definitions<'s>, Error<'a>> {
    let mut modules = List::new(arena);
    for index in scope {
        modules.push(index).of(namespace.module(0).path)?;
    }
    let modules = arena.copy(&modules).of(namespace.module(0).path)?;
    Definitions::of(namespace, modules, arena)
}

/// The table kept for module `of`, made if it is another's or none yet.
fn table<'t, 'a, 's, I: Image>(
    known: &'t mut Option<(usize, Definitions<'s>)>,
    namespace: &Namespace<'a, I>,
    of: usize,
    scope: &mut dyn Iterator<Item = usize>,
    arena: &'s Arena,
) -> Result<&'t Definitions<'s>, Error<'a>> {
    if known.as_ref().is_none_or(|(known, _)| *known != of) {
        *known = None;
    }
    match known {
        Some((_, definitions)) => Ok(definitions),
        None => Ok(&known.insert((of, definitions(namespace, scope, arena)?)).1),
    }
}
