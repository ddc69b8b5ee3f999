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
use crate::base::hash::{Key, Numbers};
use crate::error::{Errno, OpenError, Problem};
use crate::link::search::{directory, is_path};
use crate::link::tried::Tried;
use crate::native::built_in::BuiltIn;
use crate::native::walk::{Circumstances, Fault, NamedNeed, Object, Step, Walk, is_passed_over};
use crate::os::seam::AddressSpace;

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
        by_name: Numbers::default(),
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
    }
    // A library that is found later may have that name for its own.
    let mut first = List::<NamedNeed<'_>>::new(scratch);
    walk.misses.iter().filter(|miss| !walk.is_here(miss.name)).try_for_each(|&miss| first.push(miss)).ok()?;
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
    /// Requires that ld.so has no choice of other files than those that were looked for, for certain processors.
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
                    .try_for_each(|list| steps.push(Step::List(list, directory(path), b":")).ok())?,
            }
            for &step in steps.iter() {
                self.each(step, &mut |walk| {
                    if walk.search.is_missing(walk.key) {
                        return Some(false);
                    }
                    let directory = walk.search.path.path().len();
                    // Nothing is found in or below a directory that the process may not search. (One that it may not read it
                    // may search all the same.)
                    if walk.error_at(b"?")? == Some(OpenError::Errno(Errno::EACCES)) {
                        return Some(false);
                    }
                    for before in BEFORE {
                        walk.search.path.truncate(directory);
                        if !walk.is_absent(before)? {
                            return None;
                        }
                    }
                    walk.search.path.truncate(directory);
                    if !walk.is_absent(b"glibc-hwcaps/")? {
                        let directory = walk.search.path.path().len();
                        for need in 0..walk.needs.len() {
                            let name = walk.needs.get(need)?.name;
                            for level in LEVELS {
                                walk.search.path.truncate(directory);
                                let _ = walk.search.path.put(level).ok()?;
                                if !walk.error_at(name)?.is_some_and(is_passed_over) {
                                    return None;
                                }
                            }
                        }
                    }
                    Some(false)
                })?;
            }
        }
        Some(())
    }

    /// The error of opening what has that name in the directory of [`Self::search`].
    fn error_at(&mut self, name: &[u8]) -> Option<Option<OpenError>> {
        // Nothing has a path that is too long.
        if !self.search.path.enter(name).ok()? {
            return Some(Some(OpenError::Errno(Errno::ENOENT)));
        }
        Some(self.sys.open(self.search.path.path()).err())
    }

    /// Whether the directory of [`Self::search`] has no directory of that name.
    fn is_absent(&mut self, name: &[u8]) -> Option<bool> {
        Some(matches!(self.error_at(name)?, Some(OpenError::Errno(Errno::ENOENT | Errno::ENOTDIR))))
    }

    /// What was searched for the needs of an object, for a message.
    fn tried(&mut self, needer: usize) -> Option<&'static [u8]> {
        let mut text = List::new(self.arena);
        let cache = self.built_in.cache;
        for &step in self.steps(needer)?.iter() {
            let list = if let Step::Cache = step { Step::List(cache, b"", b"") } else { step };
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
