//! What is known of libc's world when a library is opened.
#![forbid(unsafe_code)]

use crate::base::arena::{Arena, List, OutOfMemory};
use crate::link::worlds::Worlds;
use crate::os::seam::FileInfo;

/// libc's world, as far as opening a library depends on it.
#[derive(Debug)]
pub struct LibcsWorld<'a> {
    /// Whether libc is there, whose symbols what is opened may refer to without naming it.
    pub is_there: bool,
    /// The files that libc has loaded.
    pub files: List<'a, FileInfo>,
    /// Whether libc is to open a library that has no ABI note and needs nothing.
    pub takes_loose: bool,
}

impl<'a> LibcsWorld<'a> {
    /// Without libc.
    pub(crate) const fn absent(arena: &'a Arena) -> Self {
        Self { is_there: false, files: List::new(arena), takes_loose: false }
    }

    /// What is known before a library is opened.
    pub(crate) fn worlds<'r>(&self, arena: &'r Arena) -> Result<Worlds<'r>, OutOfMemory> {
        let mut worlds = Worlds::new(arena, &self.files)?;
        worlds.loose_is_native = self.is_there && self.takes_loose;
        Ok(worlds)
    }
}
