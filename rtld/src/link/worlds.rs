//! Files that are libc's to load although they name no libc: those without the ABI note that need something native, directly
//! or through others, and those that libc has loaded already.
//!
//! What a library needs is known when all of it has been looked for, and by then the library is mapped. So what turns out
//! to be native is taken back, and the needs are resolved once more by somebody who knows.
#![forbid(unsafe_code)]

use crate::base::arena::{Arena, List, OutOfMemory};
use crate::link::namespace::{Namespace, Need};
use crate::link::search::is_installed;
use crate::os::seam::{FileInfo, Image};

/// What is known of the worlds of files and modules during one load.
pub(crate) struct Worlds<'r> {
    arena: &'r Arena,
    /// Files that are libc's to load.
    files: List<'r, FileInfo>,
    /// Modules that need something native.
    outward: List<'r, usize>,
    /// Modules that need the loader, which makes them libraries of this world.
    bound_here: List<'r, usize>,
    /// Whether a library that needs nothing is libc's, if it is the one that is asked for and has no ABI note.
    pub(crate) loose_is_native: bool,
    /// Whether that has been so.
    pub(crate) was_loose: bool,
}

impl<'r> Worlds<'r> {
    /// Nothing is known yet but the files that libc has loaded.
    pub(crate) fn new(arena: &'r Arena, loaded: &[FileInfo]) -> Result<Self, OutOfMemory> {
        let (mut files, outward, bound_here) = (List::new(arena), List::new(arena), List::new(arena));
        files.extend(loaded)?;
        Ok(Self { files, outward, bound_here, loose_is_native: false, was_loose: false, arena })
    }

    /// Whether a file is libc's.
    pub(crate) fn is_native(&self, info: &FileInfo) -> bool {
        self.files.iter().any(|known| known.same_file(info))
    }

    /// Takes note of a module that needs something native, or the loader.
    pub(crate) fn needs(&mut self, index: usize, loader: bool) -> Result<(), OutOfMemory> {
        let list = if loader { &mut self.bound_here } else { &mut self.outward };
        if list.last() == Some(&index) { Ok(()) } else { list.push(index) }
    }

    /// Forgets the numbers of modules.
    pub(crate) fn forget_modules(&mut self) {
        self.outward.truncate(0);
        self.bound_here.truncate(0);
    }

    /// Takes note of the files of those of the modules `fresh` that are native; returns their numbers.
    pub(crate) fn give_natives<I: Image>(
        &mut self,
        namespace: &Namespace<'_, I>,
        fresh: &[usize],
    ) -> Result<List<'r, usize>, OutOfMemory> {
        let arena = self.arena;
        let mut natives = List::new(arena);
        // Nothing is taken back of what was there before; the program was, too, whatever it needs.
        let noted = |index: usize| {
            let module = namespace.get(index);
            module.is_none_or(|it| it.note.is_some() || it.needer.is_none() || is_installed(it.path))
        };
        if self.outward.iter().all(|&index| noted(index)) {
            return Ok(natives);
        }
        // Modules that stay, or that are known to be native.
        let settled = arena.slice(namespace.bound(), true)?;
        for &index in fresh {
            settled.get_mut(index).into_iter().for_each(|settled| *settled = noted(index));
        }
        for &index in self.bound_here.iter() {
            settled.get_mut(index).into_iter().for_each(|settled| *settled = true);
        }
        // The needers of each module: the number of one in `needers`, plus one, each with that of the next.
        let first = arena.slice(namespace.bound(), 0usize)?;
        let mut needers = List::new(arena);
        for &index in fresh {
            for need in namespace.get(index).map_or(&[][..], |module| module.needed) {
                if let Need::Module(needed) = *need
                    && let Some(first) = first.get_mut(needed)
                {
                    needers.push((index, *first))?;
                    *first = needers.len();
                }
            }
        }
        let mut settle = |index: usize, natives: &mut List<'r, usize>| match settled.get_mut(index) {
            Some(settled) if !*settled => {
                *settled = true;
                natives.push(index)
            }
            _ => Ok(()),
        };
        self.outward.iter().try_for_each(|&index| settle(index, &mut natives))?;
        let mut next = 0usize;
        while let Some(&index) = natives.get(next) {
            next = next.wrapping_add(1);
            let mut number = first.get(index).copied().unwrap_or(0);
            while let Some(&(needer, following)) = number.checked_sub(1).and_then(|number| needers.get(number)) {
                number = following;
                settle(needer, &mut natives)?;
            }
        }
        for &index in natives.iter() {
            let info = namespace.get(index).and_then(|module| module.info);
            info.map_or(Ok(()), |info| self.files.push(info))?;
        }
        Ok(natives)
    }
}
