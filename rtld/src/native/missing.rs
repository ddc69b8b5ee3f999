//! Native libraries that are missing, found before ld.so is entered, which could only end the process.
//!
//! The needs of the native libraries are followed as ld.so will follow them, file by file, and nothing is mapped for
//! good. Only what is sure is said: wherever ld.so might find what was not found here, or other libraries than were found
//! here, nothing is missing, and ld.so decides.
#![forbid(unsafe_code)]

use abi::arch::NATIVE;
use abi::libcs::Libc;

use crate::base::addr::RuntimeAddr;
use crate::base::arena::{Arena, List};
use crate::base::hash::Key;
use crate::error::Problem;
use crate::link::peek::tell;
use crate::link::search::{directory, is_path};
use crate::link::tried::Tried;
use crate::native::built_in::BuiltIn;
use crate::native::walk::{Circumstances, Fault, NamedNeed, Object, Step, Walk};
use crate::os::seam::AddressSpace;

/// Largest number of needs that are followed.
const MOST: usize = 4000;

/// Longest list of what was tried, in bytes.
const TRIED: usize = 300;

/// The native libraries of the names `roots`, or that these need, of which it is sure that ld.so will not find or not take
/// them. None where it is not sure, or there is no memory to find out.
pub fn missing<'r, S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    ld_so: &S::Image,
    roots: impl Iterator<Item = &'r [u8]>,
    circumstances: &Circumstances<'_>,
) -> List<'static, Fault<'static>> {
    let scratch = arena.scratch();
    let mut faults = List::new(arena);
    if all_missing(sys, arena, ld_so, roots, circumstances, &scratch, &mut faults).is_none() {
        faults.truncate(0);
    }
    faults
}

/// `None` if nothing is sure.
fn all_missing<'r, S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    ld_so: &S::Image,
    roots: impl Iterator<Item = &'r [u8]>,
    circumstances: &Circumstances<'_>,
    scratch: &Arena,
    faults: &mut List<'static, Fault<'static>>,
) -> Option<()> {
    let built_in = BuiltIn::of(circumstances.libc, ld_so, scratch)?;
    let mut walk = Walk {
        sys,
        arena,
        scratch,
        circumstances,
        built_in,
        library_path: scratch.copy(circumstances.library_path.unwrap_or_default()).ok()?,
        cache: None,
        objects: List::new(scratch),
        needs: List::new(scratch),
        misses: List::new(scratch),
        broken: List::new(arena),
        search: Tried::new(scratch),
        // Addresses of this process, which the author of a library can not know.
        key: Key::new([RuntimeAddr::of(&raw const *scratch).0, RuntimeAddr::of(&raw const *circumstances).0]),
    };
    walk.begin(roots)?;
    let mut next = 0usize;
    while let Some(&NamedNeed { name, needer }) = walk.needs.get(next) {
        if !walk.is_here(name) {
            walk.resolve(name, needer)?;
        }
        next = next.wrapping_add(1);
        if next > MOST {
            return None;
        }
    }
    // A library that is found later may have that name for its own.
    let misses = walk.misses.iter().filter(|miss| !walk.is_here(miss.name));
    let mut first = List::<NamedNeed<'_>>::new(scratch);
    for &miss in misses {
        if !first.iter().any(|known| known.name == miss.name) {
            first.push(miss).ok()?;
        }
    }
    if first.is_empty() && walk.broken.is_empty() {
        return Some(());
    }
    walk.require_no_others()?;
    for miss in first.iter() {
        let needer = walk.objects.get(miss.needer)?.path;
        let tried = if is_path(miss.name) { arena.copy(miss.name).ok()? } else { walk.tried(miss.needer)? };
        let problem = Problem::NativeLibrary { needer: arena.copy(needer).ok()?, tried };
        faults.push(Fault { object: arena.copy(miss.name).ok()?, problem }).ok()?;
    }
    faults.extend(&walk.broken).ok()
}

impl<S: AddressSpace> Walk<'_, '_, S> {
    /// Requires that ld.so has no choice of other files than those that were looked for: for certain processors, or by a
    /// second entry of the cache.
    fn require_no_others(&mut self) -> Option<()> {
        if self.circumstances.libc == Libc::Musl {
            return Some(());
        }
        /// Directories in which glibc before 2.37 searches first.
        const BEFORE: [&[u8]; 5] = [b"tls", b"haswell", b"xeon_phi", b"avx512_1", NATIVE.name.as_bytes()];
        /// Directories in which later versions do.
        const LEVELS: [&[u8]; 3] = [b"x86-64-v2/", b"x86-64-v3/", b"x86-64-v4/"];
        for number in 0..self.objects.len() {
            let Object { path, rpath, runpath, .. } = *self.objects.get(number)?;
            let mut steps = List::new(self.scratch);
            match number {
                // The library path and ld.so's own directories, too.
                0 => steps = self.steps(0)?,
                _ => [rpath, runpath]
                    .into_iter()
                    .try_for_each(|list| steps.push(Step::List(list, directory(path), false)).ok())?,
            }
            for &step in steps.iter() {
                self.each(step, &mut |walk| {
                    if walk.search.is_missing(walk.key) {
                        return Some(false);
                    }
                    let directory = walk.search.path.path().len();
                    for before in BEFORE {
                        walk.search.path.truncate(directory);
                        walk.require_none(before)?;
                    }
                    walk.search.path.truncate(directory);
                    if walk.search.path.enter(b"glibc-hwcaps/").ok()?
                        && is_there(walk.sys, walk.search.path.path())
                    {
                        let directory = walk.search.path.path().len();
                        for need in 0..walk.needs.len() {
                            let name = walk.needs.get(need)?.name;
                            for level in LEVELS {
                                walk.search.path.truncate(directory);
                                let _ = walk.search.path.put(level).ok()?;
                                walk.require_none(name)?;
                            }
                        }
                    }
                    Some(false)
                })?;
            }
        }
        let Some(cache) = self.cache()? else { return Some(()) };
        for need in self.needs.iter().filter(|need| cache.paths(need.name).nth(1).is_some()) {
            let used = |path: &[u8]| self.objects.iter().any(|object| object.path == path);
            if cache.paths(need.name).any(|path| path.is_none_or(|path| !used(path) && !self.is_foreign(path))) {
                return None;
            }
        }
        Some(())
    }

    /// Requires that there is no file of that name in the directory of [`Self::search`].
    fn require_none(&mut self, name: &[u8]) -> Option<()> {
        let there = self.search.path.enter(name).ok()? && is_there(self.sys, self.search.path.path());
        if there { None } else { Some(()) }
    }

    /// Whether a file is absent, or one that ld.so passes over.
    fn is_foreign(&self, path: &[u8]) -> bool {
        match self.sys.open(path) {
            Ok((file, info)) => {
                let page = self.circumstances.page;
                tell(self.sys, self.arena, &file, &info, page, &mut |_, _| Ok(()))
                    .is_err_and(|failure| matches!(*failure, Problem::Class(_) | Problem::Machine(_)))
            }
            Err(error) => error.is_absence(),
        }
    }

    /// What was searched for the needs of an object, for a message.
    fn tried(&mut self, needer: usize) -> Option<&'static [u8]> {
        let mut text = List::new(self.arena);
        let cache = self.built_in.cache;
        for &step in self.steps(needer)?.iter() {
            let list = if let Step::Cache = step { Step::List(cache, b"", false) } else { step };
            let cut = self.each(list, &mut |walk| {
                text.extend(if text.is_empty() { b"" } else { b", " }).ok()?;
                let cut = text.len() > TRIED;
                text.extend(if cut { b"..." } else { walk.search.path.path() }).ok()?;
                Some(cut)
            })?;
            if cut {
                break;
            }
        }
        self.arena.copy(&text).ok()
    }
}

/// Whether something may be at a path.
fn is_there<S: AddressSpace>(sys: &S, path: &[u8]) -> bool {
    !sys.open(path).is_err_and(|error| error.is_absence())
}
