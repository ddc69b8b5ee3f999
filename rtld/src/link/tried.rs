//! The paths that a search tries, and the directories that it has found to be missing.
#![forbid(unsafe_code)]

use crate::base::addr::to_usize;
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::error::{Errno, OpenError};
use crate::link::search::PathRoom;
use crate::os::seam::Files;

/// Number of files that are not found before directories are asked about. A start with fewer has no use for the answers.
const PATIENCE: u32 = 64;

/// The state of the searches of one load.
#[derive(Debug)]
pub(crate) struct Tried<'a> {
    /// The path that is tried.
    pub(crate) path: PathRoom<'a>,
    /// The name that is searched for.
    pub(crate) name: PathRoom<'a>,
    arena: &'a Arena,
    /// Number of files that were not found.
    misses: u32,
    /// Directories that were asked about, each with whether it is there. Without that a long search path of missing
    /// directories would cost a call of the system for each of them and each name.
    directories: List<'a, (&'a [u8], bool)>,
    by_name: Numbers<'a>,
}

impl<'a> Tried<'a> {
    /// Nothing was tried yet.
    pub(crate) fn new(arena: &'a Arena) -> Self {
        let (path, name) = (PathRoom::new(arena), PathRoom::new(arena));
        Self { path, name, arena, misses: 0, directories: List::new(arena), by_name: Numbers::default() }
    }

    fn known(&self, key: Key, directory: &[u8]) -> Option<bool> {
        let directories = &self.directories;
        let place = |number: u32| directories.get(to_usize(number.into()));
        let is = |number: u32| place(number).is_some_and(|(known, _)| *known == directory);
        place(self.by_name.find(key.hash(directory).fold(), is)?).map(|(_, present)| *present)
    }

    /// Whether the directory that [`Self::path`] leads to was found to be missing.
    pub(crate) fn is_missing(&self, key: Key) -> bool {
        !self.directories.is_empty() && self.known(key, self.path.path()) == Some(false)
    }

    /// Takes note of a file that was not found. `directory` is the length of the directory's part of its path. Once many
    /// were not found, asks whether the directory is there.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub(crate) fn missed<F: Files>(&mut self, sys: &F, key: Key, directory: usize) -> Result<(), OutOfMemory> {
        self.misses = self.misses.saturating_add(1);
        let Some(directory) = self.path.path().get(..directory) else { return Ok(()) };
        if self.misses < PATIENCE || self.known(key, directory).is_some() {
            return Ok(());
        }
        // One that can not be read may be searched all the same.
        let present = !matches!(sys.open(directory), Err(OpenError::Errno(Errno::ENOENT | Errno::ENOTDIR)));
        let number = u32::try_from(self.directories.len()).map_err(|_| OutOfMemory(usize::MAX))?;
        let directory = self.arena.copy(directory)?;
        self.by_name.insert(self.arena, key.hash(directory).fold(), number)?;
        self.directories.push((directory, present))
    }
}
