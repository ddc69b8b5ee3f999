//! Closing libraries: what is not needed any more.
#![forbid(unsafe_code)]

use crate::base::arena::{Arena, List, OutOfMemory};
use crate::error::{Failure, Problem};
use crate::open::libraries::Libraries;
use crate::open::opened::Stage;
use crate::os::seam::ImageMut;

impl<I: ImageMut + 'static> Libraries<'static, I> {
    /// Undoes a close of module `index` of which no code has run: `objects` stay open.
    pub fn reopen(&mut self, objects: &[usize], index: usize) {
        for &object in objects {
            if let Some(opened) = self.opened_mut(object) {
                opened.stage = Stage::Open;
                opened.count = opened.count.max(usize::from(object == index));
            }
        }
    }

    /// Closes a library once; returns the modules that are [`unused`](Self::unused) then. Objects of the start stay.
    ///
    /// # Errors
    /// [`Problem::NotOpen`] if the library is not open by itself; out of memory.
    pub fn close(&mut self, arena: &'static Arena, index: usize) -> Result<&'static [usize], Failure<'static>> {
        if self.namespace.is_first(index) {
            return Ok(&[]);
        }
        let opened = self.opened_mut(index).filter(|opened| opened.stage != Stage::Closing && opened.count != 0);
        let opened = opened.ok_or(Problem::NotOpen)?;
        opened.count = opened.count.saturating_sub(1);
        if opened.count != 0 {
            return Ok(&[]);
        }
        let unused = self.unused(arena);
        if let (Err(_), Some(opened)) = (&unused, self.opened_mut(index)) {
            opened.count = 1;
        }
        Ok(unused?)
    }

    /// The modules that no module needs or uses and that are not open, in the order in which they are to be finalised
    /// and then [`removed`](Self::remove). Modules that one being closed needs are not among them.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn unused(&mut self, arena: &'static Arena) -> Result<&'static [usize], OutOfMemory> {
        let stays = |index: &usize| {
            let opened = self.namespace.get(*index).and_then(|module| module.opened.as_ref());
            opened.is_some_and(|opened| opened.count != 0 || opened.pinned || opened.stage != Stage::Open)
        };
        let mut roots = List::new(arena);
        for index in (0..self.namespace.bound()).filter(stays) {
            roots.push(index)?;
        }
        self.close_over(roots.iter().copied(), true)?;
        let is_unused = |index: &&usize| !self.marked.get(**index).copied().unwrap_or(false);
        let mut order = List::new(arena);
        for &index in self.initialised.iter().rev().filter(is_unused) {
            order.push(index)?;
        }
        let unused = arena.copy(&order)?;
        for &index in unused.iter() {
            if let Some(opened) = self.opened_mut(index) {
                opened.stage = Stage::Closing;
            }
        }
        Ok(unused)
    }
}
