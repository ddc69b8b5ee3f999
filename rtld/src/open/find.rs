//! Lookup of names at run time, as dlsym(3) promises it.
#![forbid(unsafe_code)]

use crate::elf::symbol::Name;
use crate::error::{Error, OfObject};
use crate::link::namespace::Definition;
use crate::open::libraries::Libraries;
use crate::os::seam::ImageMut;

/// The scope of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// A library, then its needs, breadth first.
    In(usize),
    /// The global scope.
    Global,
    /// The scope of a module's own references (RTLD_DEFAULT).
    As(usize),
    /// The part of a module's scope that follows the module itself (RTLD_NEXT).
    Behind(usize),
}

impl<I: ImageMut + 'static> Libraries<'static, I> {
    /// Looks a name up. Unless the lookup is in one library only, the definer stays loaded as long as module `caller`.
    ///
    /// # Errors
    /// A table that the lookup reads is broken; out of memory.
    pub fn find(
        &mut self,
        place: Where,
        caller: Option<usize>,
        name: &Name<'_>,
    ) -> Result<Option<Definition>, Error<'static>> {
        let (root, from) = match place {
            Where::In(root) => (Some(root), None),
            Where::Global => (None, None),
            Where::As(module) | Where::Behind(module) => {
                let opened = self.namespace.get(module).and_then(|module| module.opened.as_ref());
                (opened.and_then(|opened| opened.root), Some(module))
            }
        };
        self.queue.truncate(0);
        if root.is_some() {
            self.close_over(root.into_iter(), false).of(self.loader_soname)?;
        }
        let scope = |from: Option<usize>| self.namespace.scope(from.unwrap_or(usize::MAX), &self.queue);
        let found = match place {
            Where::In(_) => self.namespace.lookup(&mut self.queue.iter().copied(), name, &mut 0),
            Where::Global | Where::As(_) => self.namespace.lookup(&mut scope(from), name, &mut 0),
            Where::Behind(module) => {
                let behind = scope(None).skip_while(|&index| index != module);
                self.namespace.lookup(&mut behind.filter(|&index| index != module), name, &mut 0)
            }
        };
        let Some(found) = found? else { return Ok(None) };
        let found = self.namespace.canonical_definition(name, found).of(self.loader_soname)?;
        if let (Some(caller), Where::Global | Where::As(_) | Where::Behind(_)) = (caller, place) {
            self.namespace.keep_alive(caller, found.module).of(self.loader_soname)?;
        }
        Ok(Some(found))
    }
}
