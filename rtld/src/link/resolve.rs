//! A DT_NEEDED name -> a module of this world, or something that is left to libc.
//!
//! One file, one world: a name is searched among libc-free places only. What is found there is a library if
//! it carries the ABI note or names no libc in its own DT_NEEDED; every other name is native.
#![forbid(unsafe_code)]

use abi::libcs::Libc;

use crate::base::addr::{PageSize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::base::report::{Category, Trace};
use crate::elf::consts;
use crate::elf::dynamic::DynamicInfo;
use crate::error::{Error, Failure, OfObject, OpenError, Problem};
use crate::link::file::Mapped;
use crate::link::namespace::{Module, Namespace, Need};
use crate::link::peek::{Kind, Outlook, judge};
use crate::link::search::{DIRECTORIES, ProgramPath, directory, entries, expand, is_path, mentions_origin};
use crate::native::needs::NativeNeeds;
use crate::open::opened::{Group, Opened};
use crate::os::seam::{AddressSpace, FileInfo, Image};
use crate::words;

/// What resolving needs to know; borrowed from [`crate::link::load::load`].
pub(crate) struct Resolver<'r, 'a, S: AddressSpace> {
    pub(crate) sys: &'r S,
    pub(crate) arena: &'a Arena,
    pub(crate) loader_soname: &'a [u8],
    pub(crate) library_path: Option<&'a [u8]>,
    pub(crate) program_path: ProgramPath<'a>,
    pub(crate) secure: bool,
    pub(crate) page: PageSize,
    pub(crate) trace: Trace,
    pub(crate) namespace: &'r mut Namespace<'a, S::Image>,
    pub(crate) natives: &'r mut NativeNeeds<'a>,
    /// Numbers of the modules that were mapped here, in that order.
    pub(crate) fresh: List<'a, usize>,
    /// What they come with, if that is not the start.
    pub(crate) group: Option<&'a Group<'a>>,
    /// Whether to leave files alone that are not mapped yet.
    pub(crate) only_known: bool,
    /// Whether native libraries are to be met.
    pub(crate) outlook: Outlook,
    /// What is there already.
    pub(crate) known: Known<'r>,
}

/// Libraries that a name or a file may turn out to be, by soname and by file.
pub(crate) struct Known<'s> {
    arena: &'s Arena,
    sonames: Numbers<'s>,
    files: Numbers<'s>,
}

impl<'s> Known<'s> {
    /// Those of a namespace, in `arena`.
    pub(crate) fn of<I: Image>(namespace: &Namespace<'_, I>, arena: &'s Arena) -> Result<Self, OutOfMemory> {
        let mut known = Self { arena, sonames: Numbers::default(), files: Numbers::default() };
        namespace.all().try_for_each(|(index, _)| known.add(namespace, index))?;
        Ok(known)
    }

    /// One that is new.
    fn add<I: Image>(&mut self, namespace: &Namespace<'_, I>, index: usize) -> Result<(), OutOfMemory> {
        let Some(module) = namespace.get(index).filter(|module| module.is_available()) else { return Ok(()) };
        let number = u32::try_from(index).map_err(|_| OutOfMemory(usize::MAX))?;
        // Nobody needs the program, whatever it calls itself.
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

/// What a file turned out to be.
enum Judged {
    /// A libc-free library, now this module.
    Library(usize),
    /// A library of libc's world, or one that is to be left alone.
    Outside,
    /// A file for some other machine.
    Foreign(Failure<'static>),
}

impl<'a, S: AddressSpace> Resolver<'_, 'a, S> {
    /// Resolves all that the fresh modules need, breadth first: the list grows at its end while it is walked from its
    /// start.
    pub(crate) fn needs_of_fresh(&mut self) -> Result<(), Error<'a>> {
        let mut next = 0usize;
        while let Some(&index) = self.fresh.get(next) {
            self.needs_of(index)?;
            next = next.wrapping_add(1);
        }
        Ok(())
    }

    fn needs_of(&mut self, index: usize) -> Result<(), Error<'a>> {
        let module = self.namespace.module(index);
        let path = module.path;
        let mut names = List::new(self.arena);
        for offset in module.dynamic.values(&module.image, consts::DT_NEEDED) {
            let name = module.dynamic.strings.get(&module.image, offset).of(path)?;
            names.push(self.arena.copy(name).of(path)?).of(path)?;
        }
        if names.iter().any(|name| Libc::named_by(name).is_some()) {
            self.outlook = Outlook::Natives;
        }
        let needed = self.arena.slice(names.len(), Need::Outside).of(path)?;
        for (place, &name) in needed.iter_mut().zip(names.iter()) {
            *place = self.need(index, name)?;
            if *place == Need::Outside && name != self.loader_soname {
                self.natives.library(name).of(path)?;
            }
        }
        self.namespace.module_mut(index).needed = needed;
        Ok(())
    }

    /// What `name` means to module `needer`.
    pub(crate) fn need(&mut self, needer: usize, name: &'a [u8]) -> Result<Need, Error<'a>> {
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

    /// A name with a slash is a path, used as it is; it has to exist.
    fn by_path(&mut self, needer: usize, name: &'a [u8]) -> Result<Option<usize>, Error<'a>> {
        let origin = self.origin(needer, name)?;
        let Some(path) = expand(self.arena, name, origin, self.secure).of(name)? else {
            let problem = if self.secure { Problem::InsecureName(name) } else { Problem::UnknownOrigin };
            return Err(problem).of(name);
        };
        match self.open(needer, name, path)? {
            Ok(Judged::Library(index)) => Ok(Some(index)),
            Ok(Judged::Outside) => Ok(None),
            Ok(Judged::Foreign(failure)) => Err(failure).of(path),
            Err(error) => Err(error).of(path),
        }
    }

    /// The contract's order. A file for another machine is passed over, as ld.so does; if nothing else is
    /// found it is an error where the object itself led there, and ignored where LD_LIBRARY_PATH did.
    fn by_name(&mut self, needer: usize, name: &'a [u8]) -> Result<Option<usize>, Error<'a>> {
        let mut foreign = None;
        let mut ancestor = Some(needer);
        let has_runpath = self.namespace.get(needer).is_some_and(|module| module.dynamic.runpath.is_some());
        while let Some(index) = ancestor.filter(|_| !has_runpath) {
            if let Some(list) = self.list(index, |dynamic| dynamic.rpath)? {
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
        let runpath = self.list(needer, |dynamic| dynamic.runpath)?;
        for list in [runpath, Some(DIRECTORIES)].into_iter().flatten() {
            let origin = self.origin(needer, list)?;
            if let Some(found) = self.in_list(needer, name, list, origin, false, &mut foreign)? {
                return Ok(found);
            }
        }
        foreign.map_or(Ok(None), Err)
    }

    /// `Some` once the search is over: a module, or `None` in it for a native library.
    fn in_list(
        &mut self,
        needer: usize,
        name: &'a [u8],
        list: &[u8],
        origin: Option<&[u8]>,
        from_environment: bool,
        foreign: &mut Option<Error<'a>>,
    ) -> Result<Option<Option<usize>>, Error<'a>> {
        for entry in entries(list, from_environment) {
            let Some(directory) = expand(self.arena, entry, origin, self.secure).of(name)? else { continue };
            let path = self.arena.concat(&[directory, b"/", name]).of(name)?;
            self.trace.line(Category::Libs, words!("{}: trying {}", name, path));
            match self.open(needer, name, path)? {
                Ok(Judged::Library(index)) => return Ok(Some(Some(index))),
                Ok(Judged::Outside) => return Ok(Some(None)),
                Ok(Judged::Foreign(failure)) => *foreign = Some(failure.of(path)),
                Err(error) if error.is_absence() => {}
                Err(error) => return Err(error).of(path),
            }
        }
        Ok(None)
    }

    /// Opens a candidate and judges it. The inner error is that of opening.
    fn open(
        &mut self,
        needer: usize,
        name: &'a [u8],
        path: &'a [u8],
    ) -> Result<Result<Judged, OpenError>, Error<'a>> {
        let (file, info) = match self.sys.open(path) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(index) = self.known.file(self.namespace, &info) {
            return Ok(Ok(Judged::Library(index)));
        }
        if self.only_known {
            return Ok(Ok(Judged::Outside));
        }
        let (mapped, note) = match judge(self.sys, &file, &info, self.page, self.outlook) {
            Ok(Kind::Library(mapped, note)) => (mapped, note),
            Ok(Kind::Native(libc)) => {
                self.outlook = Outlook::Natives;
                self.trace.line(Category::Files, words!("{}: names a libc, so it is native", path));
                // libc does not look into our own directories.
                if !entries(DIRECTORIES, false).any(|ours| ours == directory(path)) {
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
        let soname = match dynamic.soname {
            Some(offset) => self.arena.copy(dynamic.strings.get(&image, offset).of(path)?).of(path)?,
            None => name,
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
            opened: self.group.map(|group| Opened::new(self.arena, group)),
        });
        let index = self.namespace.add(module.of(path)?).of(path)?;
        self.fresh.push(index).of(path)?;
        self.known.add(self.namespace, index).of(path)?;
        Ok(Ok(Judged::Library(index)))
    }

    fn list(
        &self,
        index: usize,
        which: impl Fn(&DynamicInfo) -> Option<u64>,
    ) -> Result<Option<&'a [u8]>, Error<'a>> {
        let Some(module) = self.namespace.get(index) else { return Ok(None) };
        let Some(offset) = which(&module.dynamic) else { return Ok(None) };
        let list = module.dynamic.strings.get(&module.image, offset).of(module.path)?;
        self.arena.copy(list).of(module.path).map(Some)
    }

    /// What `$ORIGIN` in `text` is for module `index`.
    fn origin(&mut self, index: usize, text: &[u8]) -> Result<Option<&'a [u8]>, Error<'a>> {
        if !mentions_origin(text) {
            return Ok(None);
        }
        if index != 0 {
            return Ok(self.namespace.get(index).map(|module| directory(module.path)));
        }
        let path = self.program_path.get(self.arena).of(self.namespace.module(0).path)?;
        // It is not asked for again.
        self.program_path = ProgramPath::Known(path);
        Ok(path.map(directory))
    }
}
