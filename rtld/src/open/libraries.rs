//! Libraries that are opened and closed while the program runs: what dlopen(3) and its relatives promise, short of
//! running anything of the libraries.
//!
//! [`Libraries::open`] maps, relocates and seals, and says what is to be initialised; the caller does that, saying so by
//! [`Libraries::initialising`], then [`Libraries::settle`]s. [`Libraries::close`] says what is to be finalised; the caller
//! does that, saying so by [`Libraries::finalising`], then [`Libraries::remove`]s, and asks what is
//! [`Libraries::unused`] now. A failure leaves everything as it was.
//!
//! What is known of the libraries that came with one `open` is in an arena of their own, their *group*'s, which can go
//! when the last of them goes.
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::ptr;

use crate::base::addr::{PageSize, from_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::report::{Category, Trace};
use crate::elf::consts::{DF_1_NODELETE, DF_1_NOOPEN, DF_1_PIE};
use crate::elf::eh_frame::find;
use crate::elf::plan::Protection;
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::namespace::{Namespace, Need, TlsPlace};
use crate::link::reloc::{Indirect, LoaderCode, Means, Objects, Relocator};
use crate::link::resolve::{Known, Resolver};
use crate::link::sealed::{Sealed, init_order, protect_relro};
use crate::link::search::ProgramPath;
use crate::link::tls::TlsLayout;
use crate::link::tls::trace_tls;
use crate::native::needs::NativeNeeds;
use crate::open::opened::{Flags, Group, Opened, Stage};
use crate::os::seam::{AddressSpace, ImageMut};

/// Most libraries with thread-local storage that can be opened at run time: one bit a thread for each.
pub const TLS_MODULES: usize = 64;

/// The circumstances of the process, the same for every `open`.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Value of LD_LIBRARY_PATH; none if `secure`.
    pub library_path: Option<&'a [u8]>,
    /// The program's path, for `$ORIGIN`; not known if `secure`.
    pub program_path: ProgramPath<'a>,
    /// AT_SECURE.
    pub secure: bool,
    /// Size of a page.
    pub page: PageSize,
    /// Where trace lines go.
    pub trace: Trace,
    /// Code that relocated words refer to.
    pub code: LoaderCode,
}

/// Something was opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The library that was asked for.
    pub root: usize,
    /// What came with it, in the order of initialisation. Empty if everything was there.
    pub fresh: &'a [usize],
    /// Words that wait for a resolver's answer.
    pub indirect: List<'a, Indirect>,
    /// What it needs of native libraries. All its words are 0.
    pub natives: NativeNeeds<'a>,
}

/// The objects of the start and all that is open besides.
pub struct Libraries<'a, I> {
    pub(crate) namespace: Namespace<'a, I>,
    circumstances: Circumstances<'a>,
    pub(crate) loader_soname: &'a [u8],
    loader: usize,
    tls: TlsLayout,
    /// How many libraries with thread-local storage have been opened, and the id of the first.
    tls_modules: usize,
    first_tls_id: u64,
    /// Whether the start has native libraries.
    start_has_natives: bool,
    /// Numbers of the modules whose initialisers have begun, in that order, among those whose initialisers will.
    initialised: List<'a, usize>,
    /// Walks over needs.
    pub(crate) queue: List<'a, usize>,
    marked: List<'a, bool>,
    /// How many modules have been added and removed, of all times (`dl_iterate_phdr`).
    pub changes: (u64, u64),
}

impl<'a, I: ImageMut> Libraries<'a, I> {
    /// Adds to the objects of `start`. `tls` is their thread-local layout, with a reserve. `arena` is this value's own.
    pub fn after(
        start: &'a Sealed<'a, I>,
        tls: TlsLayout,
        circumstances: Circumstances<'a>,
        arena: &'a Arena,
    ) -> Result<Self, OutOfMemory> {
        let namespace = Namespace::after(&start.namespace, arena)?;
        let loader = namespace.all().last();
        let (loader, loader_soname) = loader.map_or((0, &b""[..]), |(index, loader)| (index, loader.soname));
        let count = from_usize(namespace.bound());
        Ok(Self {
            namespace,
            circumstances,
            loader_soname,
            loader,
            tls,
            tls_modules: 0,
            first_tls_id: count.saturating_add(1),
            start_has_natives: start.natives.any(),
            initialised: List::new(arena),
            queue: List::new(arena),
            marked: List::new(arena),
            changes: (count, 0),
        })
    }

    /// The objects.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace<'a, I> {
        &self.namespace
    }

    /// Opens a library by a name as in DT_NEEDED, for module `caller`. All that is needed for it goes into `arena`, and
    /// may be given back if nothing is fresh. `None` if RTLD_NOLOAD leaves it unopened.
    ///
    /// RTLD_LAZY is as RTLD_NOW: POSIX leaves open when a library is relocated.
    pub fn open<S: AddressSpace<Image = I>>(
        &mut self,
        sys: &S,
        arena: &'a Arena,
        name: &'a [u8],
        caller: usize,
        flags: Flags,
    ) -> Result<Option<Opening<'a>>, Error<'a>> {
        let group = &*arena.put(Group { arena, live: Cell::new(0) }).of(name)?;
        let before = (self.tls, self.tls_modules);
        let result = self.load(sys, group, name, caller, flags);
        if result.is_err() {
            self.initialised.retain(|&index| !is_fresh(&self.namespace, index, group));
            for index in 0..self.namespace.bound() {
                if is_fresh(&self.namespace, index, group)
                    && let Some(module) = self.namespace.remove(index)
                {
                    sys.unmap(&mut module.image);
                }
            }
            (self.tls, self.tls_modules) = before;
        }
        result
    }

    fn load<S: AddressSpace<Image = I>>(
        &mut self,
        sys: &S,
        group: &'a Group<'a>,
        name: &'a [u8],
        caller: usize,
        flags: Flags,
    ) -> Result<Option<Opening<'a>>, Error<'a>> {
        let arena = group.arena;
        let Circumstances { library_path, program_path, secure, page, trace, code } = self.circumstances;
        let mut natives = NativeNeeds::new(arena, self.namespace.key());
        natives.inherited = self.start_has_natives;
        let only_known = flags.has(Flags::NOLOAD);
        let scratch = arena.scratch();
        let known = Known::of(&self.namespace, arena).of(name)?;
        let mut resolver = Resolver {
            sys,
            arena,
            loader_soname: self.loader_soname,
            library_path,
            program_path,
            secure,
            page,
            trace,
            namespace: &mut self.namespace,
            natives: &mut natives,
            fresh: List::new(arena),
            group: Some(group),
            only_known,
            known,
        };
        let root = match resolver.need(caller, name)? {
            Need::Module(index) => index,
            Need::Outside if name == self.loader_soname => self.loader,
            Need::Outside if only_known => return Ok(None),
            Need::Outside => return Err(Problem::NotLibrary).of(name),
        };
        resolver.needs_of_fresh()?;
        let fresh = resolver.fresh;
        let path = self.namespace.module(root).path;
        self.close_over([root].into_iter(), false).of(path)?;
        let local = arena.copy(&self.queue).of(path)?;
        for &index in fresh.iter() {
            self.admit(index, root, flags)?;
        }
        let objects = Objects { fresh: &fresh, local };
        // Nothing waits for its first call: there is nobody to replace the stubs.
        let code = LoaderCode { stubs: code.stubs.none(), ..code };
        let means = Means { arena, scratch: &scratch, code, trace };
        let mut relocator = Relocator::new(&mut self.namespace, &mut natives, objects, means);
        relocator.run()?;
        let indirect = relocator.indirect;
        for slot in natives.slots.iter() {
            // Its addresses may be in native hands.
            self.namespace.pin(slot.module);
        }
        for &index in fresh.iter() {
            protect_relro(sys, self.namespace.module(index), Protection::READ)?;
        }
        let done = |index: usize| !is_fresh(&self.namespace, index, group);
        let order = init_order(arena, &self.namespace, local, done).of(path)?;
        self.initialised.extend(order).of(path)?;
        if flags.has(Flags::GLOBAL) {
            local.iter().try_for_each(|&index| self.namespace.make_global(index)).of(path)?;
        }
        if let Some(opened) = self.opened_mut(root) {
            opened.count = opened.count.saturating_add(1);
            opened.pinned |= flags.has(Flags::NODELETE);
        }
        group.live.set(fresh.len());
        self.changes.0 = self.changes.0.saturating_add(from_usize(fresh.len()));
        trace.line(Category::Files, format_args!("{}: opened, {} new", crate::error::Escaped(path), fresh.len()));
        Ok(Some(Opening { root, fresh: order, indirect, natives }))
    }

    /// Gives a fresh module what it needs to be one of those that are open.
    fn admit(&mut self, index: usize, root: usize, flags: Flags) -> Result<(), Error<'a>> {
        let id = self.first_tls_id.saturating_add(from_usize(self.tls_modules));
        let Some(module) = self.namespace.get_mut(index) else { return Ok(()) };
        let flags_1 = module.dynamic.flags_1;
        if index == root && flags_1 & DF_1_PIE != 0 {
            return Err(Problem::Unsupported("opening a program (DF_1_PIE)")).of(module.path);
        }
        if index == root && flags_1 & DF_1_NOOPEN != 0 {
            return Err(Problem::Unsupported("opening it at run time (DF_1_NOOPEN)")).of(module.path);
        }
        if let Some(segment) = &module.image.plan().tls {
            if self.tls_modules == TLS_MODULES {
                return Err(Problem::TooManyTlsModules { limit: TLS_MODULES }).of(module.path);
            }
            let distance = self.tls.place(segment).of(module.path)?;
            trace_tls(self.circumstances.trace, module.path, segment, distance);
            let late = u32::try_from(self.tls_modules).ok();
            module.tls = Some(TlsPlace { distance, id, late });
            self.tls_modules = self.tls_modules.saturating_add(1);
        }
        if let Some(opened) = module.opened.as_mut() {
            opened.root = Some(root);
            opened.deep = flags.has(Flags::DEEPBIND);
            // A thread may have its storage in use, and its place can not be given to another.
            opened.pinned |= module.tls.is_some() || flags_1 & DF_1_NODELETE != 0;
        }
        Ok(())
    }

    fn opened_mut(&mut self, index: usize) -> Option<&mut Opened<'a>> {
        self.namespace.get_mut(index)?.opened.as_mut()
    }

    /// Undoes an opening of which nothing has run: answers what is to be [`removed`](Self::remove).
    pub fn abandon(&mut self, opening: &Opening<'a>) -> &'a [usize] {
        for &index in opening.fresh {
            if let Some(opened) = self.opened_mut(index) {
                opened.stage = Stage::Closing;
            }
        }
        self.initialised.retain(|index| !opening.fresh.contains(index));
        opening.fresh
    }

    /// Says that the initialisers of a module are about to run.
    pub fn initialising(&mut self, index: usize) {
        let Some(opened) = self.opened_mut(index) else { return };
        opened.begun = true;
        // What these open meanwhile is initialised later than this, but earlier than what is still to come.
        self.initialised.retain(|&other| other != index);
        // There is room where it was.
        let _ = self.initialised.push(index);
    }

    /// Says that the finalisers of a module are about to run. `false` if they have run: the process is ending.
    pub fn finalising(&mut self, index: usize) -> bool {
        let before = self.initialised.len();
        self.initialised.retain(|&other| other != index);
        self.initialised.len() != before
    }

    /// Whether a module was opened, has unwind tables, and nobody was told of them yet. It stays for good if so.
    pub fn keep_untold(&mut self, index: usize) -> bool {
        let module = self.namespace.get(index);
        let untold = module.is_some_and(|module| {
            module.opened.as_ref().is_some_and(|opened| !opened.told) && find(module).is_some()
        });
        let Some(opened) = self.opened_mut(index).filter(|_| untold) else { return false };
        opened.told = true;
        opened.pinned = true;
        true
    }

    /// Says that initialisers have run.
    pub fn settle(&mut self, fresh: &[usize]) {
        for &index in fresh {
            if let Some(opened) = self.opened_mut(index).filter(|opened| opened.stage == Stage::Loading) {
                opened.stage = Stage::Open;
            }
        }
    }

    /// Closes a library that is open; of one of the start it is only remembered that nobody minds. Answers what is
    /// [`unused`](Self::unused) then.
    pub fn close(&mut self, arena: &'a Arena, index: usize) -> Result<&'a [usize], Failure<'static>> {
        if self.namespace.is_first(index) {
            return Ok(&[]);
        }
        let opened = self.opened_mut(index).filter(|opened| opened.stage != Stage::Closing && opened.count != 0);
        let opened = opened.ok_or(Problem::NotOpen)?;
        opened.count = opened.count.saturating_sub(1);
        if opened.count != 0 {
            return Ok(&[]);
        }
        let unused = self.unused(arena);
        if let (Err(_), Some(opened)) = (&unused, self.opened_mut(index)) {
            opened.count = 1;
        }
        Ok(unused?)
    }

    /// What is to be finalised, in that order, and then to be [`removed`](Self::remove): all that nobody needs, uses or
    /// has open. While something is being closed, what it needs stays.
    pub fn unused(&mut self, arena: &'a Arena) -> Result<&'a [usize], OutOfMemory> {
        let stays = |index: &usize| {
            let opened = self.namespace.get(*index).and_then(|module| module.opened.as_ref());
            opened.is_some_and(|opened| opened.count != 0 || opened.pinned || opened.stage != Stage::Open)
        };
        let mut roots = List::new(arena);
        for index in (0..self.namespace.bound()).filter(stays) {
            roots.push(index)?;
        }
        self.close_over(roots.iter().copied(), true)?;
        let is_unused = |index: &&usize| !self.marked.get(**index).copied().unwrap_or(false);
        let mut order = List::new(arena);
        for &index in self.initialised.iter().rev().filter(is_unused) {
            order.push(index)?;
        }
        let unused = arena.copy(&order)?;
        for &index in unused.iter() {
            if let Some(opened) = self.opened_mut(index) {
                opened.stage = Stage::Closing;
            }
        }
        Ok(unused)
    }

    /// Unmaps a module that was closed, and is finalised. Answers the arena of its group if it was the last of that.
    pub fn remove<S: AddressSpace<Image = I>>(&mut self, sys: &S, index: usize) -> Option<&'a Arena> {
        let module = self.namespace.remove(index)?;
        self.changes.1 = self.changes.1.saturating_add(1);
        let trace = self.circumstances.trace;
        trace.line(Category::Files, format_args!("{}: closed", crate::error::Escaped(module.path)));
        sys.unmap(&mut module.image);
        let (group, needer) = (module.opened.as_ref()?.group, module.needer);
        for other in 0..self.namespace.bound() {
            let Some(module) = self.namespace.get_mut(other) else { continue };
            // Its number will be another's.
            if module.needer == Some(index) {
                module.needer = needer;
            }
            if let Some(opened) = module.opened.as_mut().filter(|opened| opened.root == Some(index)) {
                opened.root = Some(other);
            }
        }
        group.live.set(group.live.get().saturating_sub(1));
        (group.live.get() == 0).then_some(group.arena)
    }

    /// Takes the module out that was initialised last, and is to be finalised first, when the process ends.
    pub fn pop_initialised(&mut self) -> Option<usize> {
        loop {
            let last = self.initialised.last().copied()?;
            self.initialised.truncate(self.initialised.len().saturating_sub(1));
            let opened = self.namespace.get(last).and_then(|module| module.opened.as_ref());
            if opened.is_some_and(|opened| opened.begun) {
                return Some(last);
            }
        }
    }

    /// Leaves in `queue`, breadth first, and in `marked` all that the modules need, and if asked for, refer to.
    pub(crate) fn close_over(
        &mut self,
        roots: impl Iterator<Item = usize>,
        uses: bool,
    ) -> Result<(), OutOfMemory> {
        self.queue.truncate(0);
        self.marked.truncate(0);
        self.marked.resize(self.namespace.bound(), false)?;
        let Self { namespace, queue, marked, .. } = self;
        let mut reach = |index: usize, queue: &mut List<'a, usize>| match marked.get_mut(index) {
            Some(marked) if !*marked => {
                *marked = true;
                queue.push(index)
            }
            _ => Ok(()),
        };
        for root in roots {
            reach(root, queue)?;
        }
        let mut next = 0usize;
        while let Some(&index) = queue.get(next) {
            next = next.saturating_add(1);
            let Some(module) = namespace.get(index) else { continue };
            for need in module.needed {
                if let Need::Module(needed) = need {
                    reach(*needed, queue)?;
                }
            }
            let used = module.opened.as_ref().filter(|_| uses).map(|opened| &*opened.uses);
            for &used in used.unwrap_or_default() {
                reach(used, queue)?;
            }
        }
        Ok(())
    }
}

/// Whether module `index` is being opened with that group.
fn is_fresh<I: ImageMut>(namespace: &Namespace<'_, I>, index: usize, group: &Group<'_>) -> bool {
    let opened = namespace.get(index).and_then(|module| module.opened.as_ref());
    opened.is_some_and(|opened| opened.stage == Stage::Loading && ptr::eq(opened.group, group))
}
