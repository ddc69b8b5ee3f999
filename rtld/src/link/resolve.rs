//! The meaning of a DT_NEEDED name: a module of this world, or a name that is left to libc.
//!
//! One file, one world: a name is searched for among libc-free places only. Which world a file found there belongs to is told
//! in docs/decisions.md, "Which world". Every name that is not found is native.
#![forbid(unsafe_code)]

use core::mem;

use abi::libcs::Libc;

use crate::base::addr::{PageSize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::base::report::{Category, Trace};
use crate::elf::consts;
use crate::error::{Errno, Error, Failure, OWN, OfObject, OpenError, Problem};
use crate::link::file::Mapped;
use crate::link::namespace::{Module, Namespace, Need};
use crate::link::peek::{Kind, Outlook, judge};
use crate::link::search::{
    OwnLists, PathRoom, ProgramPath, SearchList, directory, entries, is_installed, is_path, mentions_origin,
};
use crate::link::tried::Tried;
use crate::link::worlds::Worlds;
use crate::native::needs::NativeNeeds;
use crate::open::opened::{Group, Opened};
use crate::os::seam::{AddressSpace, FileInfo, Image};
use crate::words;

/// The surroundings in which names are resolved; borrowed from [`crate::link::load::load`], or from an open at run
/// time.
pub(crate) struct Resolver<'r, S: AddressSpace> {
    pub(crate) sys: &'r S,
    pub(crate) arena: &'static Arena,
    pub(crate) loader_soname: &'static [u8],
    pub(crate) library_path: Option<SearchList<'static>>,
    pub(crate) program_path: ProgramPath<'static>,
    pub(crate) secure: bool,
    pub(crate) page: PageSize,
    pub(crate) trace: Trace,
    pub(crate) namespace: &'r mut Namespace<'static, S::Image>,
    pub(crate) natives: &'r mut NativeNeeds<'static>,
    /// Numbers of the modules that were mapped here, in the order of mapping.
    pub(crate) fresh: List<'static, usize>,
    /// Their group, if they are opened at run time.
    pub(crate) group: Option<&'static Group<'static>>,
    /// Whether files that are not mapped yet are left alone (RTLD_NOLOAD).
    pub(crate) only_known: bool,
    /// Whether native libraries are likely.
    pub(crate) outlook: Outlook,
    /// Libraries that are mapped already.
    pub(crate) known: KnownLibraries<'r>,
    pub(crate) searches: Searches<'r, 'static>,
    pub(crate) worlds: Worlds<'r>,
}

/// The state of all searches of one load.
pub(crate) struct Searches<'r, 'a> {
    tried: Tried<'r>,
    /// The search paths of modules, by number, as far as they were asked for.
    lists: List<'r, Option<OwnLists<'a>>>,
}

impl<'r> Searches<'r, '_> {
    /// Nothing was searched for yet.
    pub(crate) fn new(arena: &'r Arena) -> Self {
        Self { tried: Tried::new(arena), lists: List::new(arena) }
    }
}

/// Mapped libraries by soname and by file.
pub(crate) struct KnownLibraries<'s> {
    arena: &'s Arena,
    sonames: Numbers<'s>,
    files: Numbers<'s>,
}

impl<'s> KnownLibraries<'s> {
    /// The libraries of a namespace; the tables are in `arena`.
    pub(crate) fn of<I: Image>(namespace: &Namespace<'_, I>, arena: &'s Arena) -> Result<Self, OutOfMemory> {
        let mut known = Self { arena, sonames: Numbers::default(), files: Numbers::default() };
        namespace.all().try_for_each(|(index, _)| known.add(namespace, index))?;
        Ok(known)
    }

    /// Adds a new library.
    fn add<I: Image>(&mut self, namespace: &Namespace<'_, I>, index: usize) -> Result<(), OutOfMemory> {
        let Some(module) = namespace.get(index).filter(|module| module.is_available()) else { return Ok(()) };
        let number = u32::try_from(index).map_err(|_| OutOfMemory(usize::MAX))?;
        // A DT_NEEDED name never means the program, whatever its soname.
        if index != 0 && self.named(namespace, module.soname).is_none() {
            self.sonames.insert(self.arena, namespace.key().hash(module.soname).fold(), number)?;
        }
        if let Some(info) = &module.info {
            self.files.insert(self.arena, file_hash(namespace.key(), info), number)?;
        }
        Ok(())
    }

    fn named<I: Image>(&self, namespace: &Namespace<'_, I>, soname: &[u8]) -> Option<usize> {
        let is = |number: u32| module(namespace, number).is_some_and(|module| module.soname == soname);
        let number = self.sonames.find(namespace.key().hash(soname).fold(), is)?;
        Some(to_usize(number.into()))
    }

    fn file<I: Image>(&self, namespace: &Namespace<'_, I>, info: &FileInfo) -> Option<usize> {
        let same = |number: u32| {
            let known = module(namespace, number).and_then(|module| module.info.as_ref());
            known.is_some_and(|known| known.same_file(info))
        };
        Some(to_usize(self.files.find(file_hash(namespace.key(), info), same)?.into()))
    }
}

fn module<'n, 'a, I: Image>(namespace: &'n Namespace<'a, I>, number: u32) -> Option<&'n Module<'a, I>> {
    namespace.get(to_usize(number.into()))
}

fn file_hash(key: Key, info: &FileInfo) -> u32 {
    let FileInfo { dev, ino, .. } = info;
    key.pair(*dev, *ino).fold()
}

#[inline(never)]
fn say_native(trace: Trace, path: &[u8]) {
    trace.line(Category::Files, words!("{}: needs libc, so it is native", path));
}

/// The result of judging a file.
enum Judged {
    /// A libc-free library, by the number of its module.
    Library(usize),
    /// A native library, or a file that is left alone.
    Outside,
    /// A file for another machine.
    Foreign(Failure<'static>),
}

impl<S: AddressSpace> Resolver<'_, S> {
    /// The meaning of `name` in module `needer`, once all that it brings is mapped.
    pub(crate) fn need_of_root(&mut self, needer: usize, name: &[u8]) -> Result<Need, Error<'static>> {
        loop {
            let root = self.need(needer, name)?;
            self.needs_of_fresh()?;
            if !self.takes_back()? {
                return Ok(root);
            }
        }
    }

    /// Resolves all needs of the fresh modules, breadth first: the list grows at its end while it is walked from its
    /// start.
    pub(crate) fn needs_of_fresh(&mut self) -> Result<(), Error<'static>> {
        let mut next = 0usize;
        while let Some(&index) = self.fresh.get(next) {
            self.needs_of(index)?;
            next = next.wrapping_add(1);
        }
        Ok(())
    }

    /// Takes back everything that was mapped here if some of it is native. `true` if so: then all needs are to be resolved
    /// again.
    pub(crate) fn takes_back(&mut self) -> Result<bool, Error<'static>> {
        let natives = self.worlds.give_natives(self.namespace, &self.fresh).of(OWN)?;
        if natives.is_empty() {
            return Ok(false);
        }
        for &index in natives.iter() {
            say_native(self.trace, self.namespace.module(index).path);
        }
        let kept = usize::from(self.group.is_none());
        for &index in self.fresh.iter().skip(kept) {
            if let Some(module) = self.namespace.remove(index) {
                self.sys.unmap(&mut module.image);
            }
        }
        self.fresh.truncate(kept);
        self.worlds.forget_modules();
        self.searches.lists.truncate(0);
        self.known = KnownLibraries::of(self.namespace, self.known.arena).of(OWN)?;
        self.natives.forget_libraries();
        Ok(true)
    }

    fn needs_of(&mut self, index: usize) -> Result<(), Error<'static>> {
        let module = self.namespace.module(index);
        let path = module.path;
        // Names are read again below, not kept: many may be parts of one string.
        let mut offsets = List::new(self.arena);
        for offset in module.dynamic.values(&module.image, consts::DT_NEEDED) {
            let name = module.dynamic.strings.file_name(&module.image, offset).of(path)?;
            if Libc::named_by(name).is_some() {
                self.outlook = Outlook::Natives;
            }
            offsets.push(offset).of(path)?;
        }
        let needed = self.arena.slice(offsets.len(), Need::Outside).of(path)?;
        let mut name = mem::replace(&mut self.searches.tried.name, PathRoom::new(self.known.arena));
        for (place, &offset) in needed.iter_mut().zip(offsets.iter()) {
            let module = self.namespace.module(index);
            name.clear();
            // Its length was checked above.
            let _ = name.put(module.dynamic.strings.file_name(&module.image, offset).of(path)?).of(path)?;
            *place = self.need(index, name.path())?;
            if *place == Need::Outside {
                let loader = name.path() == self.loader_soname;
                self.worlds.needs(index, loader).of(path)?;
                if !loader {
                    self.natives.library(name.path()).of(path)?;
                }
            }
        }
        self.searches.tried.name = name;
        if needed.is_empty() && self.worlds.loose_is_native && self.fresh.first() == Some(&index) {
            self.worlds.needs(index, false).of(path)?;
            self.worlds.was_loose = true;
        }
        self.namespace.module_mut(index).needed = needed;
        Ok(())
    }

    /// A copy of a text that is kept.
    fn keep(&self, text: &[u8]) -> Result<&'static [u8], Error<'static>> {
        self.arena.copy(text).of(OWN)
    }

    /// The error that the path in [`Tried::path`] leads to.
    fn blame<T>(&self, problem: impl Into<Failure<'static>>) -> Result<T, Error<'static>> {
        Err(problem).of(self.keep(self.searches.tried.path.path())?)
    }

    /// The meaning of `name` in module `needer`.
    pub(crate) fn need(&mut self, needer: usize, name: &[u8]) -> Result<Need, Error<'static>> {
        if name == self.loader_soname || Libc::named_by(name).is_some() {
            return Ok(Need::Outside);
        }
        if let Some(index) = self.known.named(self.namespace, name) {
            return Ok(Need::Module(index));
        }
        self.trace.line(Category::Libs, words!("{}: searched for", name));
        let found = if is_path(name) { self.by_path(needer, name)? } else { self.by_name(needer, name)? };
        match found {
            Some(index) => Ok(Need::Module(index)),
            None => {
                self.trace.line(Category::Libs, words!("{}: left to libc", name));
                Ok(Need::Outside)
            }
        }
    }

    /// Resolves a name with a slash. It is a path, used as it is, and must exist.
    fn by_path(&mut self, needer: usize, name: &[u8]) -> Result<Option<usize>, Error<'static>> {
        let origin = self.origin(needer, SearchList::new(name))?;
        if !self.searches.tried.path.expand(name, origin, self.secure).of(OWN)? {
            let name = self.keep(name)?;
            let problem = match origin {
                _ if self.secure => Problem::InsecureName(name),
                None if mentions_origin(name) => Problem::UnknownOrigin,
                _ => Problem::Open(Errno::ENAMETOOLONG),
            };
            return Err(problem).of(name);
        }
        match self.open(needer, name)? {
            Ok(Judged::Library(index)) => Ok(Some(index)),
            Ok(Judged::Outside) => Ok(None),
            Ok(Judged::Foreign(failure)) => self.blame(failure),
            Err(error) => self.blame(error),
        }
    }

    /// Searches for a name in the contract's order. A file for another machine is passed over, like in ld.so. If
    /// nothing else is found, it is an error if the object's own path led there, and ignored if LD_LIBRARY_PATH did.
    fn by_name(&mut self, needer: usize, name: &[u8]) -> Result<Option<usize>, Error<'static>> {
        let mut foreign = None;
        let mut ancestor = Some(needer);
        let has_runpath = self.namespace.get(needer).is_some_and(|module| module.dynamic.runpath.is_some());
        while let Some(index) = ancestor.filter(|_| !has_runpath) {
            if let Some(list) = self.lists(index)?.rpath {
                let origin = self.origin(index, list)?;
                if let Some(found) = self.in_list(needer, name, list, origin, false, &mut foreign)? {
                    return Ok(found);
                }
            }
            ancestor = self.namespace.get(index).and_then(|module| module.needer);
        }
        if let Some(list) = self.library_path {
            let mut ignored = None;
            let origin = self.origin(0, list)?;
            if let Some(found) = self.in_list(needer, name, list, origin, true, &mut ignored)? {
                return Ok(found);
            }
        }
        let runpath = self.lists(needer)?.runpath;
        for list in [runpath, Some(SearchList::INSTALLED)].into_iter().flatten() {
            let origin = self.origin(needer, list)?;
            if let Some(found) = self.in_list(needer, name, list, origin, false, &mut foreign)? {
                return Ok(found);
            }
        }
        foreign.map_or(Ok(None), Err)
    }

    /// Searches the directories of a list. `Some` if the search is over: with a module, or with `None` for a native
    /// library.
    fn in_list(
        &mut self,
        needer: usize,
        name: &[u8],
        list: SearchList<'static>,
        origin: Option<&[u8]>,
        from_environment: bool,
        foreign: &mut Option<Error<'static>>,
    ) -> Result<Option<Option<usize>>, Error<'static>> {
        let key = self.namespace.key();
        for entry in entries(list.text, from_environment) {
            let usable = self.searches.tried.path.expand(entry, origin, self.secure).of(OWN)?;
            let directory = self.searches.tried.path.path().len();
            // A path that is too long leads to no file.
            if !usable || self.searches.tried.is_missing(key) || !self.searches.tried.path.enter(name).of(OWN)? {
                continue;
            }
            self.trace.line(Category::Libs, words!("{}: trying {}", name, self.searches.tried.path.path()));
            match self.open(needer, name)? {
                Ok(Judged::Library(index)) => return Ok(Some(Some(index))),
                Ok(Judged::Outside) => return Ok(Some(None)),
                Ok(Judged::Foreign(failure)) => {
                    *foreign = Some(failure.of(self.keep(self.searches.tried.path.path())?));
                }
                Err(error) if error.is_absence() => {
                    self.searches.tried.missed(self.sys, key, directory).of(OWN)?
                }
                Err(error) => return self.blame(error),
            }
        }
        Ok(None)
    }

    /// Opens the path in [`Tried::path`] and judges what is there. The inner error is that of opening.
    fn open(&mut self, needer: usize, name: &[u8]) -> Result<Result<Judged, OpenError>, Error<'static>> {
        let (file, info) = match self.sys.open(self.searches.tried.path.path()) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(index) = self.known.file(self.namespace, &info) {
            return Ok(Ok(Judged::Library(index)));
        }
        if self.only_known || self.worlds.is_native(&info) {
            return Ok(Ok(Judged::Outside));
        }
        let path = self.keep(self.searches.tried.path.path())?;
        let (mapped, note) = match judge(self.sys, self.arena, &file, &info, self.page, self.outlook) {
            Ok(Kind::Library(mapped, note)) => (mapped, note),
            Ok(Kind::Native(libc)) => {
                self.outlook = Outlook::Natives;
                say_native(self.trace, path);
                // ld.so does not search the directories of libc-free libraries.
                if !is_installed(path) {
                    self.natives.told = self.natives.told.or(Some((path, libc)));
                }
                return Ok(Ok(Judged::Outside));
            }
            Err(failure) => match *failure {
                Problem::Class(_) | Problem::Encoding(_) | Problem::Machine(_) => {
                    return Ok(Ok(Judged::Foreign(failure)));
                }
                _ => return Err(failure).of(path),
            },
        };
        let Mapped { dynamic, image, headers, .. } = mapped;
        dynamic.require_supported().of(path)?;
        if image.plan().executable_stack && !self.namespace.module(0).image.plan().executable_stack {
            let wanted = "a library that wants an executable stack (PT_GNU_STACK with PF_X)";
            return Err(Problem::Unsupported(wanted)).of(path);
        }
        let soname = match dynamic.soname {
            Some(offset) => self.arena.copy(dynamic.strings.get(&image, offset).of(path)?).of(path)?,
            None => self.keep(name)?,
        };
        let opened = match self.group {
            Some(group) => {
                let current = if path.starts_with(b"/") { None } else { (group.current)(self.arena).of(path)? };
                let origin = current.map(|current| self.arena.concat(&[current, b"/", directory(path)]));
                let origin = origin.transpose().of(path)?.unwrap_or(directory(path));
                Some(Opened::new(self.arena, group, origin))
            }
            None => None,
        };
        let bias = image.bias();
        self.trace.line(Category::Files, words!("{}: mapped, load bias {x}", path, bias.0));
        let module = self.arena.put(Module {
            path,
            soname,
            info: Some(info),
            needer: Some(needer),
            phdrs: image.plan().vaddr_of(headers.phoff).map(|vaddr| (vaddr, headers.phnum)),
            dynamic,
            image,
            needed: &[],
            tls: None,
            note,
            opened,
        });
        let index = self.namespace.add(module.of(path)?).of(path)?;
        self.fresh.push(index).of(path)?;
        self.known.add(self.namespace, index).of(path)?;
        Ok(Ok(Judged::Library(index)))
    }

    /// The search paths of module `index`, which are copied once.
    fn lists(&mut self, index: usize) -> Result<OwnLists<'static>, Error<'static>> {
        let Some(module) = self.namespace.get(index) else { return Ok(OwnLists::default()) };
        if let Some(Some(lists)) = self.searches.lists.get(index) {
            return Ok(*lists);
        }
        let list = |offset: Option<u64>| -> Result<Option<SearchList<'static>>, Error<'static>> {
            let Some(offset) = offset else { return Ok(None) };
            let text = module.dynamic.strings.get(&module.image, offset).of(module.path)?;
            self.arena.copy(text).of(module.path).map(|text| Some(SearchList::new(text)))
        };
        let lists = OwnLists { rpath: list(module.dynamic.rpath)?, runpath: list(module.dynamic.runpath)? };
        self.searches.lists.put_first(index, lists).of(OWN)?;
        Ok(lists)
    }

    /// The value of `$ORIGIN` in `list`, for module `index`.
    fn origin(&mut self, index: usize, list: SearchList<'_>) -> Result<Option<&'static [u8]>, Error<'static>> {
        if !list.mentions_origin {
            return Ok(None);
        }
        if index != 0 {
            return Ok(self.namespace.get(index).map(Module::origin));
        }
        let path = self.program_path.get(self.arena).of(self.namespace.module(0).path)?;
        // Keeps the answer, so that it is asked for once.
        self.program_path = ProgramPath::Known(path);
        Ok(path.map(directory))
    }
}
