//! Looking names up at run time: what dlsym(3) promises.
#![forbid(unsafe_code)]

use crate::elf::symbol::Name;
use crate::error::{Error, OfObject};
use crate::link::namespace::Definition;
use crate::open::libraries::Libraries;
use crate::os::seam::ImageMut;

/// Where a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In a library, then in what it needs, breadth first.
    In(usize),
    /// In the global scope.
    Global,
    /// Where the references of a module are (RTLD_DEFAULT).
    As(usize),
    /// The same, but only behind the module itself (RTLD_NEXT).
    Behind(usize),
}

impl<'a, I: ImageMut> Libraries<'a, I> {
    /// Looks a name up. What is found stays as long as the module that asks.
    pub fn find(
        &mut self,
        place: Where,
        caller: Option<usize>,
        name: &Name<'_>,
    ) -> Result<Option<Definition>, Error<'a>> {
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
        let found = self.namespace.only(name, found).of(self.loader_soname)?;
        if let (Some(caller), Where::Global | Where::As(_) | Where::Behind(_)) = (caller, place) {
            self.namespace.depend(caller, found.module).of(self.loader_soname)?;
        }
        Ok(Some(found))
    }
}
