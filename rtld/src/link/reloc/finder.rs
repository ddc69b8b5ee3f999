//! What the names of references mean: object by object while there are few, by a table of all once that pays.
#![forbid(unsafe_code)]

use crate::base::addr::{from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::elf::symbol::{self, Name};
use crate::elf::version::NeededVersions;
use crate::error::{Error, OfObject};
use crate::link::definitions::{Definitions, Known};
use crate::link::namespace::{Definition, Namespace};
use crate::os::seam::Image;

/// Which modules to relocate, and where else their references are looked up.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'r> {
    /// The modules to relocate.
    pub fresh: &'r [usize],
    /// Where they look besides the global scope: what they came with, if that is not the start.
    pub local: &'r [usize],
}

/// What may be looked at, object by object, before it is asked whether a table pays.
const FREE: u64 = 2048;

/// To read a symbol into the table costs about as much as so many looks (measured).
const LOOKS: u64 = 3;

/// Looks up the references of some objects.
pub(super) struct Finder<'s> {
    arena: &'s Arena,
    /// How much was looked at without a table, and how much may be.
    work: u64,
    limit: u64,
    /// What the scope that all objects share defines.
    shared: Option<Definitions<'s>>,
    /// What an object itself defines (DF_SYMBOLIC), and what all but one object define (COPY).
    own: Option<(usize, Definitions<'s>)>,
    others: Option<(usize, Definitions<'s>)>,
    /// What is known of the symbols of the object at hand.
    answers: List<'s, Option<Known>>,
}

/// What a reference can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// All of its scope.
    All,
    /// The same, without the object itself.
    Others,
}

impl<'s> Finder<'s> {
    pub(super) fn new(arena: &'s Arena) -> Self {
        Self { arena, work: 0, limit: FREE, shared: None, own: None, others: None, answers: List::new(arena) }
    }

    /// Looks forward to the references of all objects.
    pub(super) fn begin<'a, I: Image>(
        &mut self,
        namespace: &Namespace<'a, I>,
        objects: &Objects<'_>,
    ) -> Result<(), Error<'a>> {
        let Some(&first) = objects.fresh.first() else { return Ok(()) };
        let scope = || namespace.shared_scope(first, objects.local);
        let modules = objects.fresh.iter().filter_map(|&index| namespace.get(index));
        let references = modules.map(|module| u64::from(symbol::first_listed(&module.dynamic)));
        // Each would be looked for in half of them.
        let looks = references.fold(0, u64::saturating_add).saturating_mul(from_usize(scope().count())) / 2;
        if looks > FREE && looks > listed(namespace, &mut scope())?.saturating_mul(LOOKS) {
            self.shared = Some(definitions(namespace, &mut scope(), self.arena)?);
        }
        Ok(())
    }

    /// Turns to the references of module `from`.
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

    /// What is known of a symbol of that module without a search.
    pub(super) fn known(&self, symbol: u32) -> Option<Known> {
        *self.answers.get(to_usize(symbol.into()))?
    }

    /// What `name` means to module `from`, one of the objects.
    pub(super) fn find<'a, I: Image>(
        &mut self,
        namespace: &Namespace<'a, I>,
        objects: &Objects<'_>,
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

    /// Whether so much was looked at that to read all that the scope defines would have cost no more.
    fn table_pays<'a, I: Image>(
        &mut self,
        namespace: &Namespace<'a, I>,
        scope: &mut dyn Iterator<Item = usize>,
    ) -> Result<bool, Error<'a>> {
        if cfg!(fuzzing) {
            // Its files are so small that it would never come to that. Lookups in one object it tries by themselves.
            return Ok(true);
        }
        if self.limit == FREE && self.work > FREE {
            // It pays soon.
            self.limit = listed(namespace, scope)?.max(FREE.saturating_add(1));
        }
        Ok(self.shared.is_some() || self.work > self.limit)
    }
}

/// How many symbols the objects of a scope list.
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

/// A table of what the objects of a scope define.
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

/// The table that is for module `of`.
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
