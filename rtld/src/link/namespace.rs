//! The objects of this world, and what a name means in it.
//!
//! A start's namespace holds the program, its libraries breadth first, and last the loader. One that is made
//! [`Namespace::after`] it adds what is opened at run time, and leaves the objects of the start as they are: those
//! are never written to, moved or removed again, so that they can be read without a lock.
#![forbid(unsafe_code)]

use abi::note::AbiNote;

use crate::base::addr::{RuntimeAddr, Vaddr, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::symbol::{Name, is_absolute, lookup_hashed};
use crate::elf::{Sym, consts, gnu_hash, st_bind};
use crate::error::{Error, OfObject};
use crate::open::opened::{Opened, Stage};
use crate::os::seam::{FileInfo, Image};

/// What a DT_NEEDED turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A libc-free library: its number.
    Module(usize),
    /// Left to the system's ld.so, or the loader itself.
    Outside,
}

/// Where a module's thread-local block is, in every thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsPlace {
    /// Its distance from the thread pointer in bytes.
    pub distance: i64,
    /// What `__tls_get_addr` knows the module by. 0 is nobody's.
    pub id: u64,
    /// Which of those it is that were opened at run time.
    pub late: Option<u32>,
}

/// One object.
#[derive(Debug)]
pub struct Module<'a, I> {
    /// Path that it was opened by; of the program, what the kernel was given.
    pub path: &'a [u8],
    /// The names that a DT_NEEDED can find it by: DT_SONAME (or the name it was first asked for by).
    pub soname: &'a [u8],
    /// Which file it is, if it was opened here.
    pub info: Option<FileInfo>,
    /// The module that needed it first.
    pub needer: Option<usize>,
    /// Its tables.
    pub dynamic: DynamicInfo,
    /// Its memory.
    pub image: I,
    /// Where its program headers are, if they are mapped, and how many.
    pub phdrs: Option<(Vaddr, u16)>,
    /// What it needs, in link order.
    pub needed: &'a [Need],
    /// Its thread-local storage, if it has any.
    pub tls: Option<TlsPlace>,
    /// Its ABI note.
    pub note: Option<AbiNote>,
    /// How it stands, if it was opened at run time.
    pub opened: Option<Opened<'a>>,
}

impl<I: Image> Module<'_, I> {
    /// Address of something that it defines.
    #[must_use]
    pub fn address(&self, sym: &Sym) -> RuntimeAddr {
        if is_absolute(sym) { RuntimeAddr(sym.st_value) } else { self.image.bias().runtime(Vaddr(sym.st_value)) }
    }

    /// Whether it has code there.
    #[must_use]
    pub fn is_code(&self, vaddr: Vaddr) -> bool {
        self.image.plan().segment_of(vaddr, 1).is_some_and(|segment| segment.protection.execute)
    }

    /// Whether a DT_NEEDED or an open may still end at it.
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

/// A definition that stands for all others of its name, in whatever scope they are (STB_GNU_UNIQUE).
#[derive(Clone, Copy, Debug)]
struct Unique<'a> {
    name: &'a [u8],
    definition: Definition,
}

/// A place for a module; empty once the module was closed.
type Place<'a, I> = Option<&'a mut Module<'a, I>>;

/// The objects, by numbers that stay theirs.
#[derive(Debug)]
pub struct Namespace<'a, I> {
    arena: &'a Arena,
    /// The objects of the start, if they are another namespace's.
    first: &'a [Place<'a, I>],
    own: List<'a, Place<'a, I>>,
    /// How many places of `own` are empty.
    vacant: usize,
    loader: Option<usize>,
    /// Modules opened with RTLD_GLOBAL, in that order.
    global: List<'a, usize>,
    unique: List<'a, Unique<'a>>,
    unique_numbers: Numbers<'a>,
    key: Key,
}

impl<'a, I: Image> Namespace<'a, I> {
    /// Without any object.
    #[must_use]
    pub fn new(arena: &'a Arena, key: Key) -> Self {
        let (own, global, unique) = (List::new(arena), List::new(arena), List::new(arena));
        let unique_numbers = Numbers::default();
        Self { arena, first: &[], own, vacant: 0, loader: None, global, unique, unique_numbers, key }
    }

    /// What tables by hash are keyed with.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// With the objects of `start`, to which others come. Their tables are in `arena`.
    pub fn after(start: &'a Self, arena: &'a Arena) -> Result<Self, OutOfMemory> {
        let mut namespace = Self::new(arena, start.key);
        namespace.unique.extend(&start.unique)?;
        namespace.number_unique()?;
        Ok(Self { first: &start.own, loader: start.loader, ..namespace })
    }

    /// Adds an object; answers its number.
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
    pub fn add_loader(&mut self, loader: &'a mut Module<'a, I>) -> Result<(), OutOfMemory> {
        self.loader = Some(self.add(loader)?);
        Ok(())
    }

    /// The loader itself.
    #[must_use]
    pub fn loader(&self) -> Option<&Module<'a, I>> {
        self.get(self.loader?)
    }

    /// Takes a module out that was opened at run time. Nothing refers to it by its number any more.
    pub fn remove(&mut self, index: usize) -> Option<&'a mut Module<'a, I>> {
        let place = self.own.get_mut(index.checked_sub(self.first.len())?)?;
        let module = place.take();
        self.vacant = self.vacant.saturating_add(usize::from(module.is_some()));
        self.global.retain(|&other| other != index);
        let unique = self.unique.len();
        self.unique.retain(|unique| unique.definition.module != index);
        if self.unique.len() != unique {
            // There is room: it is less than before.
            let _ = self.number_unique();
        }
        module
    }

    /// Program and libraries with their numbers, without the loader.
    pub fn loaded(&self) -> impl Iterator<Item = (usize, &Module<'a, I>)> {
        self.all().filter(|&(index, _)| Some(index) != self.loader)
    }

    /// All objects with their numbers.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Module<'a, I>)> {
        (0..self.bound()).filter_map(|index| Some((index, self.get(index)?)))
    }

    /// Numbers are less than this.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.first.len().saturating_add(self.own.len())
    }

    /// Module `index`, if there is one.
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

    /// Module `index`, if there is one and it is this namespace's own, to write to.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Module<'a, I>> {
        self.own.get_mut(index.checked_sub(self.first.len())?)?.as_deref_mut()
    }

    /// Module `index`, which there is.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a number of no module would be a bug of ours")]
    pub fn module(&self, index: usize) -> &Module<'a, I> {
        self.place(index).expect("a module of that number")
    }

    /// Module `index`, which there is and is this namespace's own, to write to.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a number of no module would be a bug of ours")]
    pub fn module_mut(&mut self, index: usize) -> &mut Module<'a, I> {
        self.get_mut(index).expect("a module of that number")
    }

    /// Whether some object, the loader aside, has code at an address.
    #[must_use]
    pub fn is_code(&self, address: RuntimeAddr) -> bool {
        self.loaded().any(|(_, module)| module.is_code(module.image.bias().vaddr(address)))
    }

    /// Whether module `index` is one of the start's.
    #[must_use]
    pub fn is_first(&self, index: usize) -> bool {
        index < self.first_count()
    }

    fn first_count(&self) -> usize {
        if self.first.is_empty() { self.own.len() } else { self.first.len() }
    }

    /// Lets every object find what module `index` defines.
    pub fn make_global(&mut self, index: usize) -> Result<(), OutOfMemory> {
        if self.is_first(index) || self.global.contains(&index) { Ok(()) } else { self.global.push(index) }
    }

    /// Where the references of module `from` are looked up: the program and the libraries of the start, the loader,
    /// what was opened with RTLD_GLOBAL, then the objects that came with the module. What is being closed is only in the
    /// scope of what is being closed with it: nobody else could keep it.
    pub fn scope<'s>(&'s self, from: usize, local: &'s [usize]) -> impl Iterator<Item = usize> + 's {
        let symbolic = self.is_symbolic(from).then_some(from);
        symbolic.into_iter().chain(self.shared_scope(from, local))
    }

    /// Whether the references of a module are looked up in itself first.
    #[must_use]
    pub fn is_symbolic(&self, index: usize) -> bool {
        self.get(index).is_some_and(|module| module.dynamic.symbolic)
    }

    /// The scope of module `from`, and of all that came with it, but for what is in it because of DF_SYMBOLIC.
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

    /// The first definition of `name` among `scope`.
    ///
    /// For one name; it costs the more the more objects there are. `work` grows by how much there was to look at.
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

    /// Module `from` refers to module `on`, which is to stay as long as it does.
    pub fn depend(&mut self, from: usize, on: usize) -> Result<(), OutOfMemory> {
        if from == on || self.is_first(on) {
            return Ok(());
        }
        let opened = self.get(from).and_then(|module| module.opened.as_ref());
        if opened.is_some_and(|opened| opened.uses.contains(&on)) { Ok(()) } else { self.refer(from, on) }
    }

    /// The same, of modules of which that was not said yet.
    pub fn refer(&mut self, from: usize, on: usize) -> Result<(), OutOfMemory> {
        if from == on || self.is_first(on) {
            return Ok(());
        }
        match self.get_mut(from).and_then(|module| module.opened.as_mut()) {
            Some(opened) => opened.uses.push(on),
            // What was there at the start stays for good.
            None => {
                self.pin(on);
                Ok(())
            }
        }
    }

    /// A module that was opened stays for good.
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

    /// What is bound to in place of a definition that was found: of a unique symbol the first one that ever was.
    pub fn only(&mut self, name: &Name<'_>, found: Definition) -> Result<Definition, OutOfMemory> {
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
        // It is too late to keep what is being closed.
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
