//! The walk through the needs of native libraries, file by file, by the rules of libcs' ld.so.
//!
//! Results are options: `None` wherever it is not sure what ld.so would do, and where there is no memory.
#![forbid(unsafe_code)]

use core::mem::MaybeUninit;

use abi::libcs::Libc;

use crate::base::addr::{FileOffset, PageSize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::base::limits::NAME_MAX;
use crate::elf::dynamic::DynamicInfo;
use crate::elf::{consts, size};
use crate::error::{Errno, Failure, OpenError, Problem};
use crate::link::peek::tell;
use crate::link::search::{directory, dollars, is_path};
use crate::link::tried::Tried;
use crate::native::built_in::BuiltIn;
use crate::native::cache::Cache;
use crate::os::seam::{AddressSpace, Image};

/// The circumstances under which ld.so will search.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'p> {
    /// The libc.
    pub libc: Libc,
    /// The object that ld.so will take for the program.
    pub program: &'p [u8],
    /// Its DT_RPATH or DT_RUNPATH, with the tag.
    pub search: Option<(u64, &'p [u8])>,
    /// LD_LIBRARY_PATH, as ld.so will see it.
    pub library_path: Option<&'p [u8]>,
    /// AT_SECURE.
    pub secure: bool,
    /// Size of a page.
    pub page: PageSize,
}

/// What is wrong with a native library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// Name of a missing library; path of a broken one.
    pub object: &'a [u8],
    /// What it is.
    pub problem: Problem<'a>,
}

/// Largest size of a file that lists libraries or directories, in bytes.
const LARGEST: u64 = 16 << 20;

/// Largest number of names that are followed.
const MOST: usize = 4000;

/// Size in bytes of the room in which musl makes a path; it passes over a longer one (ldso/dynlink.c, load_library).
const MUSLS_ROOM: usize = 2 * NAME_MAX + 2;

/// A library, or the program. Empty texts stand for what it has not.
#[derive(Clone, Copy, Default)]
pub(super) struct Object<'s> {
    /// The name by which it was needed.
    pub(super) name: &'s [u8],
    pub(super) path: &'s [u8],
    pub(super) soname: &'s [u8],
    pub(super) rpath: &'s [u8],
    pub(super) runpath: &'s [u8],
    /// Number of the object that needed it first; its own for the program.
    pub(super) needer: usize,
}

/// A name in an object's DT_NEEDED.
#[derive(Clone, Copy)]
pub(super) struct NamedNeed<'s> {
    pub(super) name: &'s [u8],
    pub(super) needer: usize,
}

/// A step of a search.
#[derive(Clone, Copy)]
pub(super) enum Step<'s> {
    /// The directories of a list; with the directory for `$ORIGIN`, and the bytes that separate entries.
    List(&'s [u8], &'s [u8], &'static [u8]),
    Cache,
}

/// What the walk has found so far.
pub(super) struct Walk<'w, 's, S: AddressSpace> {
    pub(super) sys: &'w S,
    pub(super) arena: &'static Arena,
    pub(super) scratch: &'s Arena,
    pub(super) circumstances: &'w Circumstances<'w>,
    pub(super) built_in: BuiltIn<'s>,
    /// LD_LIBRARY_PATH; empty if there is none.
    pub(super) library_path: &'s [u8],
    /// The contents of the cache, once they were asked for.
    pub(super) cache: Option<Option<Cache<'s>>>,
    pub(super) objects: List<'s, Object<'s>>,
    /// Each name once: if it is not found for the first who needs it, ld.so ends the process.
    pub(super) needs: List<'s, NamedNeed<'s>>,
    /// Numbers of the needs.
    pub(super) by_name: Numbers<'s>,
    pub(super) misses: List<'s, NamedNeed<'s>>,
    pub(super) broken: List<'static, Fault<'static>>,
    pub(super) search: Tried<'s>,
    /// Key of the search's table.
    pub(super) key: Key,
}

impl<'s, S: AddressSpace> Walk<'_, 's, S> {
    pub(super) fn begin<'r>(&mut self, roots: impl Iterator<Item = &'r [u8]>) -> Option<()> {
        let Circumstances { libc, program, search, .. } = *self.circumstances;
        match libc {
            Libc::Gnu => {
                if self.contents(self.built_in.preload)?.is_some_and(|list| !list.is_empty()) {
                    return None;
                }
            }
            Libc::Musl => {
                let name = libc.interpreter().as_bytes().rsplit(|&byte| byte == b'/').next()?;
                let path = self.scratch.concat(&[b"/etc/", name.strip_suffix(b".so.1")?, b".path"]).ok()?;
                if let Some(text) = self.contents(path)? {
                    self.built_in.directories = text.split(|&byte| byte == 0).next()?;
                }
            }
        }
        let (mut rpath, mut runpath) = (&[][..], &[][..]);
        if let Some((tag, list)) = search {
            *(if tag == consts::DT_RPATH { &mut rpath } else { &mut runpath }) = self.scratch.copy(list).ok()?;
        }
        let path = self.scratch.copy(program).ok()?;
        self.objects.push(Object { path, rpath, runpath, ..Object::default() }).ok()?;
        for name in roots {
            self.need(name, 0)?;
        }
        Some(())
    }

    /// Adds a need.
    fn need(&mut self, name: &[u8], needer: usize) -> Option<()> {
        let Self { scratch, key, ref needs, .. } = *self;
        let number = u32::try_from(needs.len()).ok()?;
        let is = |number: u32| needs.get(to_usize(number.into())).is_some_and(|need| need.name == name);
        if self.by_name.find_or_insert(scratch, key.hash(name).fold(), number, is).ok()?.is_none() {
            if needs.len() == MOST {
                return None;
            }
            self.needs.push(NamedNeed { name: scratch.copy(name).ok()?, needer }).ok()?;
        }
        Some(())
    }

    /// Whether an object that is there already serves a name.
    pub(super) fn is_here(&self, name: &[u8]) -> bool {
        // musl's ld.so is all of these (ldso/dynlink.c, load_library).
        const MUSLS: [&[u8]; 7] = [b"c.", b"pthread.", b"rt.", b"m.", b"dl.", b"util.", b"xnet."];
        let libc = self.circumstances.libc;
        let is_libc = match libc {
            // The kernel's library is an object of glibc's, too (elf/setup-vdso.h).
            Libc::Gnu => {
                libc.interpreter().as_bytes().rsplit(|&byte| byte == b'/').next() == Some(name)
                    || name == b"linux-vdso.so.1"
            }
            Libc::Musl => name.strip_prefix(b"lib").is_some_and(|it| MUSLS.iter().any(|own| it.starts_with(own))),
        };
        let serves = |object: &Object<'_>| object.name == name || object.soname == name || object.path == name;
        is_libc || self.objects.iter().skip(1).any(serves)
    }

    /// Finds a library and adds it, or notes that it is missing.
    pub(super) fn resolve(&mut self, name: &'s [u8], needer: usize) -> Option<()> {
        if is_path(name) {
            self.search.path.clear();
            if name.contains(&b'$') || !self.search.path.put(name).ok()? {
                return None;
            }
            return if self.take(name, needer)? {
                Some(())
            } else {
                self.misses.push(NamedNeed { name, needer }).ok()
            };
        }
        for &step in self.steps(needer)?.iter() {
            let found = match step {
                Step::List(..) => self.each(step, &mut |walk| walk.take_from_directory(name, needer))?,
                Step::Cache => match self.cached(name)? {
                    Some(path) => {
                        self.search.path.clear();
                        self.search.path.put(path).ok()? && self.take(name, needer)?
                    }
                    None => false,
                },
            };
            if found {
                return Some(());
            }
        }
        self.misses.push(NamedNeed { name, needer }).ok()
    }

    /// The steps of the search for what an object needs (glibc, elf/dl-load.c; musl, ldso/dynlink.c).
    pub(super) fn steps(&self, needer: usize) -> Option<List<'s, Step<'s>>> {
        let mut steps = List::new(self.scratch);
        let mut add = |step| match step {
            Step::List([], ..) => Some(()),
            step => steps.push(step).ok(),
        };
        let glibc = self.circumstances.libc == Libc::Gnu;
        let separators = if glibc { &b":"[..] } else { b":\n" };
        let library_path = self.library_path;
        let object = *self.objects.get(needer)?;
        if !glibc {
            add(Step::List(library_path, b"", separators))?;
        }
        if !glibc || object.runpath.is_empty() {
            let mut above = needer;
            loop {
                let Object { path, rpath, runpath, needer, .. } = *self.objects.get(above)?;
                let list = if glibc || runpath.is_empty() { rpath } else { runpath };
                add(Step::List(list, directory(path), separators))?;
                if above == needer {
                    break;
                }
                above = needer;
            }
        }
        if glibc {
            add(Step::List(library_path, b"", b":;"))?;
            add(Step::List(object.runpath, directory(object.path), separators))?;
            add(Step::Cache)?;
        }
        add(Step::List(self.built_in.directories, b"", separators))?;
        Some(steps)
    }

    /// Makes [`Self::search`] the path of one directory of a list after the other, until `then` returns true.
    pub(super) fn each(
        &mut self,
        step: Step<'s>,
        then: &mut dyn FnMut(&mut Self) -> Option<bool>,
    ) -> Option<bool> {
        let Step::List(list, origin, separators) = step else { return Some(false) };
        for entry in list.split(|byte| separators.contains(byte)) {
            // An empty entry is the current directory for glibc, and nothing for musl (ldso/dynlink.c, path_open).
            let is_one = self.circumstances.libc == Libc::Gnu || !entry.is_empty();
            if is_one && self.enter(entry, origin)? && then(self)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Makes [`Self::search`] the path of a directory. `Some(false)` if it is too long; `None` if only ld.so knows what the
    /// entry means.
    fn enter(&mut self, entry: &[u8], origin: &[u8]) -> Option<bool> {
        if dollars(entry).any(|is_origin| !is_origin || origin.is_empty() || self.circumstances.secure) {
            return None;
        }
        self.search.path.expand(entry, Some(origin), false).ok()
    }

    /// Adds the library of that name in the directory in [`Self::search`]. `Some(false)` if ld.so goes on with its search.
    fn take_from_directory(&mut self, name: &'s [u8], needer: usize) -> Option<bool> {
        if self.search.is_missing(self.key) {
            return Some(false);
        }
        let directory = self.search.path.path().len();
        let usable = self.search.path.enter(name).ok()?
            && (self.circumstances.libc == Libc::Gnu || self.search.path.path().len() < MUSLS_ROOM);
        if usable && self.take(name, needer)? {
            return Some(true);
        }
        self.search.missed(self.sys, self.key, directory).ok()?;
        Some(false)
    }

    /// Adds the library at the path in [`Self::search`]. `Some(false)` if ld.so goes on with its search.
    fn take(&mut self, name: &'s [u8], needer: usize) -> Option<bool> {
        let (file, info) = match self.sys.open(self.search.path.path()) {
            Ok(opened) => opened,
            Err(error) if is_passed_over(error) => return Some(false),
            Err(_) => return None,
        };
        let scratch = self.scratch;
        let path = scratch.copy(self.search.path.path()).ok()?;
        let mut object = Object { name, path, needer, ..Object::default() };
        let mut needed = List::<&'s [u8]>::new(scratch);
        let mut filters = false;
        let mut read = |image: &dyn Image, dynamic: &DynamicInfo| -> Result<(), Failure<'static>> {
            let text = |offset: Option<u64>| -> Result<&'s [u8], Failure<'static>> {
                let Some(offset) = offset else { return Ok(b"") };
                Ok(scratch.copy(dynamic.strings.get(image, offset)?)?)
            };
            object.soname = text(dynamic.soname)?;
            object.runpath = text(dynamic.runpath)?;
            object.rpath = if dynamic.runpath.is_some() { b"" } else { text(dynamic.rpath)? };
            needed.truncate(0);
            for offset in dynamic.values(image, consts::DT_NEEDED) {
                if needed.len() > MOST {
                    return Err(OutOfMemory(MOST).into());
                }
                needed.push(scratch.copy(dynamic.strings.file_name(image, offset)?)?)?;
            }
            filters = dynamic
                .values(image, consts::DT_FILTER)
                .chain(dynamic.values(image, consts::DT_AUXILIARY))
                .count()
                != 0;
            Ok(())
        };
        let told = tell(self.sys, self.arena, &file, &info, self.circumstances.page, &mut read);
        if let Err(failure) = told {
            return match *failure {
                Problem::Class(_) | Problem::Machine(_) if self.circumstances.libc == Libc::Gnu => Some(false),
                problem @ (Problem::NotElf | Problem::Truncated { .. }) if is_no_elf(problem) => {
                    self.broken.push(Fault { object: self.arena.copy(path).ok()?, problem }).ok()?;
                    self.objects.push(object).ok()?;
                    Some(true)
                }
                _ => None,
            };
        }
        if filters {
            return None;
        }
        let number = self.objects.len();
        self.objects.push(object).ok()?;
        needed.iter().try_for_each(|name| self.need(name, number))?;
        Some(true)
    }

    /// The path for a name in the cache; `Some(None)` if there is none.
    fn cached(&mut self, name: &[u8]) -> Option<Option<&'s [u8]>> {
        if self.cache.is_none() {
            let contents = self.contents(self.built_in.cache)?;
            self.cache = Some(match contents {
                Some(contents) => Some(Cache::new(contents)?),
                None => None,
            });
        }
        self.cache?.map_or(Some(None), |cache| cache.path(name))
    }

    /// The contents of a file; `Some(None)` if it is not there.
    pub(super) fn contents(&self, path: &[u8]) -> Option<Option<&'s [u8]>> {
        let (file, info) = match self.sys.open(path) {
            Ok(opened) => opened,
            Err(OpenError::Errno(Errno::ENOENT)) => return Some(None),
            Err(_) => return None,
        };
        let size = if info.size > LARGEST { return None } else { to_usize(info.size) };
        let room = self.scratch.slice(size, MaybeUninit::uninit()).ok()?;
        let bytes = self.sys.read_at(&file, FileOffset(0), room).ok()?;
        Some(Some(bytes))
    }
}

/// Whether ld.so goes on with the next directory if it can not open a file because of that. Other errors end the search, of
/// a list or as a whole.
pub(super) const fn is_passed_over(error: OpenError) -> bool {
    matches!(error, OpenError::Errno(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES))
}

/// Whether ld.so ends the process because of that, and does not go on with its search.
fn is_no_elf(problem: Problem<'_>) -> bool {
    matches!(problem, Problem::NotElf)
        || matches!(problem, Problem::Truncated { size, .. } if size < size::EHDR as u64)
}
