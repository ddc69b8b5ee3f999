//! The objects of this world, by number, and the scopes in which their references are looked up.
//!
//! A start's namespace contains the program, its libraries breadth first, and last the loader. A namespace made by
//! [`Namespace::after`] adds the libraries that are opened at run time. It leaves what is known of the objects of the start as it
//! is: that is never changed, moved or removed, so it can be read without a lock.
#![forbid(unsafe_code)]

use abi::note::AbiNote;

use crate::base::addr::{RuntimeAddr, Vaddr, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::symbol::{Name, is_absolute, lookup_hashed};
use crate::elf::{Sym, consts, gnu_hash, st_bind};
use crate::error::{Error, OfObject};
use crate::link::search::directory;
use crate::link::tls::TlsPlace;
use crate::open::opened::{Opened, Stage};
use crate::os::seam::{FileInfo, Image};

/// The meaning of a DT_NEEDED name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A libc-free library, by its number.
    Module(usize),
    /// A library left to the system's ld.so, or the loader itself.
    Outside,
}

/// One object.
#[derive(Debug)]
pub struct Module<'a, I> {
    /// Path by which it was opened; for the program, the path that the kernel was given.
    pub path: &'a [u8],
    /// Name by which a DT_NEEDED finds it: DT_SONAME, or else the name by which it was first needed.
    pub soname: &'a [u8],
    /// Identity of its file, if the loader opened it.
    pub info: Option<FileInfo>,
    /// Number of the first module that needed it.
    pub needer: Option<usize>,
    /// Its decoded PT_DYNAMIC.
    pub dynamic: DynamicInfo,
    /// Its memory.
    pub image: I,
    /// Address and number of its program headers, if they are mapped.
    pub phdrs: Option<(Vaddr, u16)>,
    /// Its needs, in link order.
    pub needed: &'a [Need],
    /// Its thread-local storage, if it has any.
    pub tls: Option<TlsPlace<'a>>,
    /// Its ABI note.
    pub note: Option<AbiNote>,
    /// Its state as an opened library, if it was opened at run time.
    pub opened: Option<Opened<'a>>,
}

impl<'a, I: Image> Module<'a, I> {
    /// The directory that `$ORIGIN` means in it. For the program it is another (`ProgramPath`).
    #[must_use]
    pub fn origin(&self) -> &'a [u8] {
        self.opened.as_ref().map_or(directory(self.path), |opened| opened.origin)
    }

    /// Run-time address of a symbol that it defines.
    #[must_use]
    pub fn address(&self, sym: &Sym) -> RuntimeAddr {
        if is_absolute(sym) { RuntimeAddr(sym.st_value) } else { self.image.bias().runtime(Vaddr(sym.st_value)) }
    }

    /// Whether `vaddr` is in one of its executable segments.
    #[must_use]
    pub fn is_code(&self, vaddr: Vaddr) -> bool {
        self.image.plan().segment_of(vaddr, 1).is_some_and(|segment| segment.protection.execute)
    }

    /// Whether a DT_NEEDED name, or an open, may still mean it: it is not being closed.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.opened.as_ref().is_none_or(|opened| opened.stage != Stage::Closing)
    }
}

/// A symbol and the module that defines it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Number of the module.
    pub module: usize,
    /// Its entry in that module's symbol table.
    pub sym: Sym,
}

/// A definition that stands for all others of its name, in every scope (STB_GNU_UNIQUE).
#[derive(Clone, Copy, Debug)]
struct Unique<'a> {
    name: &'a [u8],
    definition: Definition,
}

/// A place for a module; empty once the module was removed.
type Place<'a, I> = Option<&'a mut Module<'a, I>>;

/// The objects. Each keeps its number for as long as it is in the namespace.
#[derive(Debug)]
pub struct Namespace<'a, I> {
    arena: &'a Arena,
    /// The objects of the start, if they belong to another namespace.
    first: &'a [Place<'a, I>],
    own: List<'a, Place<'a, I>>,
    /// Number of empty places in `own`.
    vacant: usize,
    loader: Option<usize>,
    /// Modules opened with RTLD_GLOBAL, in the order of opening.
    global: List<'a, usize>,
    unique: List<'a, Unique<'a>>,
    unique_numbers: Numbers<'a>,
    key: Key,
}

impl<'a, I: Image> Namespace<'a, I> {
    /// An empty namespace.
    #[must_use]
    pub fn new(arena: &'a Arena, key: Key) -> Self {
        let (own, global, unique) = (List::new(arena), List::new(arena), List::new(arena));
        let unique_numbers = Numbers::default();
        Self { arena, first: &[], own, vacant: 0, loader: None, global, unique, unique_numbers, key }
    }

    /// The key of tables by hash.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// A namespace that continues `start` with objects of its own. Its tables are in `arena`.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn after(start: &'a Self, arena: &'a Arena) -> Result<Self, OutOfMemory> {
        let mut namespace = Self::new(arena, start.key);
        namespace.unique.extend(&start.unique)?;
        namespace.number_unique()?;
        Ok(Self { first: &start.own, loader: start.loader, ..namespace })
    }

    /// Adds an object; returns its number.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn add(&mut self, module: &'a mut Module<'a, I>) -> Result<usize, OutOfMemory> {
        let module = Some(module);
        let mut places = self.own.iter_mut().enumerate();
        let vacant = if self.vacant == 0 { None } else { places.find(|(_, place)| place.is_none()) };
        let index = match vacant {
            Some((index, place)) => {
                *place = module;
                self.vacant = self.vacant.saturating_sub(1);
                index
            }
            None => {
                self.own.push(module)?;
                self.own.len().saturating_sub(1)
            }
        };
        Ok(index.saturating_add(self.first.len()))
    }

    /// Adds the loader itself, the last object of a start.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn add_loader(&mut self, loader: &'a mut Module<'a, I>) -> Result<(), OutOfMemory> {
        self.loader = Some(self.add(loader)?);
        Ok(())
    }

    /// The loader itself.
    #[must_use]
    pub fn loader(&self) -> Option<&Module<'a, I>> {
        self.get(self.loader?)
    }

    /// Removes a module that was opened at run time. The caller has made sure that nothing refers to its number any
    /// more.
    pub fn remove(&mut self, index: usize) -> Option<&'a mut Module<'a, I>> {
        let place = self.own.get_mut(index.checked_sub(self.first.len())?)?;
        let module = place.take();
        self.vacant = self.vacant.saturating_add(usize::from(module.is_some()));
        self.global.retain(|&other| other != index);
        let unique = self.unique.len();
        self.unique.retain(|unique| unique.definition.module != index);
        if self.unique.len() != unique {
            // This can not fail: the table has room for fewer numbers than before.
            let _ = self.number_unique();
        }
        module
    }

    /// The program and libraries, with their numbers, without the loader.
    pub fn loaded(&self) -> impl Iterator<Item = (usize, &Module<'a, I>)> {
        self.all().filter(|&(index, _)| Some(index) != self.loader)
    }

    /// All objects, with their numbers.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Module<'a, I>)> {
        (0..self.bound()).filter_map(|index| Some((index, self.get(index)?)))
    }

    /// A bound of the numbers: all are less than this.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.first.len().saturating_add(self.own.len())
    }

    /// Module `index`, if it exists.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Module<'a, I>> {
        self.place(index)
    }

    #[inline(always)]
    fn place(&self, index: usize) -> Option<&Module<'a, I>> {
        let place = match index.checked_sub(self.first.len()) {
            None => self.first.get(index),
            Some(own) => self.own.get(own),
        };
        place?.as_deref()
    }

    /// Module `index`, to write to, if it exists and belongs to this namespace.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Module<'a, I>> {
        self.own.get_mut(index.checked_sub(self.first.len())?)?.as_deref_mut()
    }

    /// Module `index`, which must exist.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a number of no module would be a bug of ours")]
    pub fn module(&self, index: usize) -> &Module<'a, I> {
        self.place(index).expect("a module of that number")
    }

    /// Module `index`, to write to. It must exist and belong to this namespace.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a number of no module would be a bug of ours")]
    pub fn module_mut(&mut self, index: usize) -> &mut Module<'a, I> {
        self.get_mut(index).expect("a module of that number")
    }

    /// Whether an address is code of an object other than the loader.
    #[must_use]
    pub fn is_code(&self, address: RuntimeAddr) -> bool {
        self.loaded().any(|(_, module)| module.is_code(module.image.bias().vaddr(address)))
    }

    /// Whether module `index` is an object of the start.
    #[must_use]
    pub fn is_first(&self, index: usize) -> bool {
        index < self.first_count()
    }

    fn first_count(&self) -> usize {
        if self.first.is_empty() { self.own.len() } else { self.first.len() }
    }

    /// Adds modules to the global scope (RTLD_GLOBAL).
    ///
    /// # Errors
    /// The arena has no memory left; nothing has changed.
    pub fn make_global(&mut self, modules: &[usize]) -> Result<(), OutOfMemory> {
        let before = self.global.len();
        for &index in modules {
            if !self.is_first(index) && !self.global.contains(&index) {
                self.global.push(index).inspect_err(|_| self.global.truncate(before))?;
            }
        }
        Ok(())
    }

    /// The scope of the references of module `from`: the module itself if it is symbolic, the program and the libraries
    /// of the start, the loader, modules opened with RTLD_GLOBAL, then `local`, the objects that came with the module.
    /// A module that is being closed is only in the scope of modules that are being closed with it: a reference from
    /// any other could not keep it.
    pub fn scope<'s>(&'s self, from: usize, local: &'s [usize]) -> impl Iterator<Item = usize> + 's {
        let symbolic = self.is_symbolic(from).then_some(from);
        symbolic.into_iter().chain(self.shared_scope(from, local))
    }

    /// Whether the module's references are looked up in the module itself first (DF_SYMBOLIC).
    #[must_use]
    pub fn is_symbolic(&self, index: usize) -> bool {
        self.get(index).is_some_and(|module| module.dynamic.symbolic)
    }

    /// The scope of module `from` without the effect of DF_SYMBOLIC. All modules that came with one open share it.
    pub fn shared_scope<'s>(
        &'s self,
        from: usize,
        local: &'s [usize],
    ) -> impl Iterator<Item = usize> + Clone + 's {
        let module = self.get(from);
        let deep = module.and_then(|module| module.opened.as_ref()).is_some_and(|opened| opened.deep);
        let (before, behind) = if deep { (local, &[][..]) } else { (&[][..], local) };
        let global = (0..self.first_count()).chain(self.global.iter().copied());
        let all = before.iter().copied().chain(global).chain(behind.iter().copied());
        let closing = module.is_some_and(|module| !module.is_available());
        all.filter(move |&index| closing || self.get(index).is_some_and(Module::is_available))
    }

    /// The first definition of `name` among the modules of `scope`.
    ///
    /// For single names: its cost grows with the number of objects. Adds the number of entries that were examined to
    /// `work`.
    ///
    /// # Errors
    /// A table that the lookup reads is broken; the error names the module.
    #[inline(never)]
    pub fn lookup(
        &self,
        scope: &mut dyn Iterator<Item = usize>,
        name: &Name<'_>,
        work: &mut u64,
    ) -> Result<Option<Definition>, Error<'a>> {
        let hash = gnu_hash(name.bytes);
        for index in scope {
            let Some(module) = self.get(index) else { continue };
            let found = lookup_hashed(&module.image, &module.dynamic, name, hash, work);
            if let Some(sym) = found.of(module.path)? {
                return Ok(Some(Definition { module: index, sym }));
            }
        }
        Ok(None)
    }

    /// Records that module `from` refers to module `on`, which keeps `on` loaded as long as `from`.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn keep_alive(&mut self, from: usize, on: usize) -> Result<(), OutOfMemory> {
        if from == on || self.is_first(on) {
            return Ok(());
        }
        let opened = self.get(from).and_then(|module| module.opened.as_ref());
        if opened.is_some_and(|opened| opened.uses.contains(&on)) {
            Ok(())
        } else {
            self.keep_alive_unrecorded(from, on)
        }
    }

    /// Records a reference like [`Namespace::keep_alive`], for a pair of modules that is not recorded yet.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn keep_alive_unrecorded(&mut self, from: usize, on: usize) -> Result<(), OutOfMemory> {
        if from == on || self.is_first(on) {
            return Ok(());
        }
        match self.get_mut(from).and_then(|module| module.opened.as_mut()) {
            Some(opened) => opened.uses.push(on),
            // An object of the start is never closed, so neither is a module that it refers to.
            None => {
                self.pin(on);
                Ok(())
            }
        }
    }

    /// Keeps an opened module loaded for good.
    pub fn pin(&mut self, index: usize) {
        if let Some(opened) = self.get_mut(index).and_then(|module| module.opened.as_mut()) {
            opened.pinned = true;
        }
    }

    fn number_unique(&mut self) -> Result<(), OutOfMemory> {
        let Self { arena, unique, unique_numbers, key, .. } = self;
        unique_numbers.clear();
        for (number, unique) in (0u32..).zip(unique.iter()) {
            unique_numbers.insert(arena, key.hash(unique.name).fold(), number)?;
        }
        Ok(())
    }

    /// The definition to bind to, given the definition that a lookup found: for a unique symbol (STB_GNU_UNIQUE), the
    /// first one of that name in the process.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn canonical_definition(&mut self, name: &Name<'_>, found: Definition) -> Result<Definition, OutOfMemory> {
        if st_bind(&found.sym) != consts::STB_GNU_UNIQUE {
            return Ok(found);
        }
        let hash = self.key.hash(name.bytes).fold();
        let unique = &self.unique;
        let known = |number: u32| unique.get(to_usize(number.into()));
        let first =
            self.unique_numbers.find(hash, |number| known(number).is_some_and(|known| known.name == name.bytes));
        if let Some(first) = first.and_then(known) {
            return Ok(first.definition);
        }
        // A module that is being closed can not be kept any more.
        if !self.module(found.module).is_available() {
            return Ok(found);
        }
        let bytes = self.arena.copy(name.bytes)?;
        let number = u32::try_from(self.unique.len()).map_err(|_| OutOfMemory(usize::MAX))?;
        self.unique.push(Unique { name: bytes, definition: found })?;
        self.unique_numbers.insert(self.arena, hash, number)?;
        self.pin(found.module);
        Ok(found)
    }
}
