//! Libraries that are opened and closed while the program runs, as dlopen(3) and its relatives promise it. Nothing here
//! runs code of a library: the caller does.
//!
//! To open, [`Libraries::open`] maps, relocates and seals, and lists the modules to initialise; the caller calls
//! [`Libraries::commit`] once nothing can fail, announces each by [`Libraries::initialising`], runs its initialisers, and at last calls [`Libraries::settle`]. To close,
//! [`Libraries::close`] lists the modules to finalise; the caller announces each by [`Libraries::finalising`], runs its
//! finalisers, calls [`Libraries::remove`], and asks for further [`Libraries::unused`] modules. A failure leaves
//! everything as it was.
//!
//! Everything that is known of the libraries of one open is in an arena of their *group*, freed with the last of them.
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::ptr;

use crate::base::addr::{PageSize, from_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::report::{Category, Trace};
use crate::elf::consts::{DF_1_NODELETE, DF_1_NOOPEN, DF_1_PIE};
use crate::elf::plan::Protection;
use crate::error::{Error, OfObject, Problem};
use crate::link::namespace::{Namespace, Need};
use crate::link::peek::Outlook;
use crate::link::reloc::{Indirect, LoaderCode, RelocContext, Relocator, Targets};
use crate::link::resolve::{KnownLibraries, Resolver, Searches};
use crate::link::sealed::{Sealed, init_order, protect_relro};
use crate::link::search::{ProgramPath, SearchList};
use crate::link::tls::TlsLayout;
use crate::native::needs::NativeNeeds;
use crate::open::late_tls::{self, LateTlsSlots};
use crate::open::opened::{CurrentDirectory, Flags, Group, Opened, Stage};
use crate::open::theirs::LibcsWorld;
use crate::os::seam::{AddressSpace, ImageMut};
use crate::words;

/// The circumstances of the process, the same for every open.
#[derive(Clone, Copy, Debug)]
pub struct ProcessInfo<'a> {
    /// Value of LD_LIBRARY_PATH; `None` if `secure`.
    pub library_path: Option<&'a [u8]>,
    /// The program's path, for `$ORIGIN`; unknown if `secure`.
    pub program_path: ProgramPath<'a>,
    /// The current directory, for `$ORIGIN` in what is opened by a relative path.
    pub current: CurrentDirectory<'a>,
    /// AT_SECURE.
    pub secure: bool,
    /// Size of a page.
    pub page: PageSize,
    /// The output of trace lines.
    pub trace: Trace,
    /// Code of the loader to which relocated words refer.
    pub code: LoaderCode,
}

/// The result of an open.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Number of the library that was asked for.
    pub root: usize,
    /// Numbers of the modules that came with it, in the order of initialisation. Empty if all were loaded already.
    pub fresh: &'a [usize],
    /// Numbers of the modules that are in the global scope once the open can not fail any more.
    global: &'a [usize],
    /// Words whose value a resolver returns (STT_GNU_IFUNC).
    pub indirect: List<'a, Indirect>,
    /// The native needs of the fresh modules. All words for them are 0.
    pub natives: NativeNeeds<'a>,
}

/// The objects of the start, and all libraries that are open.
pub struct Libraries<'a, I> {
    pub(crate) namespace: Namespace<'a, I>,
    circumstances: ProcessInfo<'a>,
    pub(crate) loader_soname: &'a [u8],
    loader: usize,
    tls: TlsLayout,
    late_tls: LateTlsSlots<'a>,
    start_has_natives: bool,
    /// What is known of libc's world.
    pub theirs: LibcsWorld<'a>,
    /// Numbers of the modules that are or will be initialised, in the order in which their initialisers begin.
    pub(super) initialised: List<'a, usize>,
    /// Result of [`Libraries::close_over`]: the modules in order.
    pub(crate) queue: List<'a, usize>,
    pub(super) marked: List<'a, bool>,
    /// Number of modules added so far, and number removed so far (`dlpi_adds` and `dlpi_subs` of dl_iterate_phdr(3)).
    pub changes: (u64, u64),
}

impl<I: ImageMut + 'static> Libraries<'static, I> {
    /// Adds to the objects of `start`. `tls` is their layout, with room for later modules; `arena` is this value's own.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn after(
        start: &'static Sealed<'static, I>,
        tls: TlsLayout,
        circumstances: ProcessInfo<'static>,
        arena: &'static Arena,
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
            late_tls: LateTlsSlots::new(arena),
            start_has_natives: start.natives.any(),
            theirs: LibcsWorld::absent(arena),
            initialised: List::new(arena),
            queue: List::new(arena),
            marked: List::new(arena),
            changes: (count, 0),
        })
    }

    /// The objects.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace<'static, I> {
        &self.namespace
    }

    /// Opens a library by a DT_NEEDED name, on behalf of module `caller`. Everything that is known of it goes into
    /// `arena`, which can be given back if the result has no fresh module. `None` if RTLD_NOLOAD is set and the library
    /// is not loaded.
    ///
    /// RTLD_LAZY leaves functions that nobody defines to their first call.
    ///
    /// # Errors
    /// [`Problem::NotLibrary`] if the name is native or not found; [`Problem::Loose`] if libc is to be asked first; otherwise as for a start: a library can not be
    /// opened, mapped or relocated, its thread-local storage does not fit the reserve, or out of memory.
    pub fn open<S: AddressSpace<Image = I>>(
        &mut self,
        sys: &S,
        arena: &'static Arena,
        name: &'static [u8],
        caller: usize,
        flags: Flags,
    ) -> Result<Option<Opening<'static>>, Error<'static>> {
        let current = self.circumstances.current;
        let group = &*arena.put(Group { arena, current, live: Cell::new(0), natives: Cell::new(&[]) }).of(name)?;
        let before = self.tls;
        let result = self.load(sys, group, name, caller, flags);
        if result.is_err() {
            self.initialised.retain(|&index| !is_fresh(&self.namespace, index, group));
            for index in 0..self.namespace.bound() {
                if is_fresh(&self.namespace, index, group)
                    && let Some(module) = self.namespace.remove(index)
                {
                    self.late_tls.release(module);
                    sys.unmap(&mut module.image);
                }
            }
            self.tls = before;
        }
        result
    }

    fn load<S: AddressSpace<Image = I>>(
        &mut self,
        sys: &S,
        group: &'static Group<'static>,
        name: &'static [u8],
        caller: usize,
        flags: Flags,
    ) -> Result<Option<Opening<'static>>, Error<'static>> {
        let arena = group.arena;
        let ProcessInfo { library_path, program_path, secure, page, trace, code, .. } = self.circumstances;
        let mut natives = NativeNeeds::new(arena, self.namespace.key());
        natives.inherited = self.start_has_natives || self.theirs.is_there;
        let only_known = flags.has(Flags::NOLOAD);
        let scratch = arena.scratch();
        let known = KnownLibraries::of(&self.namespace, arena).of(name)?;
        let mut resolver = Resolver {
            sys,
            arena,
            loader_soname: self.loader_soname,
            library_path: library_path.map(SearchList::new),
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
            outlook: if self.start_has_natives { Outlook::Natives } else { Outlook::OursOnly },
            searches: Searches::new(&scratch),
            worlds: self.theirs.worlds(&scratch).of(name)?,
        };
        let root = match resolver.need_of_root(caller, name)? {
            Need::Module(index) => index,
            Need::Outside if name == self.loader_soname => self.loader,
            Need::Outside if only_known => return Ok(None),
            Need::Outside if resolver.worlds.was_loose => return Err(Problem::Loose).of(name),
            Need::Outside => return Err(Problem::NotLibrary).of(name),
        };
        let fresh = resolver.fresh;
        let path = self.namespace.module(root).path;
        self.close_over([root].into_iter(), false).of(path)?;
        let local = arena.copy(&self.queue).of(path)?;
        for &index in fresh.iter() {
            self.admit(arena, index, root, flags)?;
        }
        let objects = Targets { fresh: &fresh, local };
        // Without first-call stubs: they are only replaced for modules of the start.
        let code = LoaderCode { stubs: code.stubs.none(), ..code.waiting_if(flags.has(Flags::LAZY)) };
        let means = RelocContext { arena, scratch: &scratch, code, trace, written: false };
        let mut relocator = Relocator::new(&mut self.namespace, &mut natives, objects, means);
        relocator.layout = Some(&mut self.tls);
        relocator.run()?;
        let indirect = relocator.indirect;
        for slot in natives.slots.iter().filter(|slot| natives.is_for_thread_end(slot.import)) {
            self.namespace.pin(slot.module);
        }
        for &index in fresh.iter() {
            protect_relro(sys, self.namespace.module(index), Protection::READ)?;
        }
        let done = |index: usize| !is_fresh(&self.namespace, index, group);
        let order = init_order(arena, &self.namespace, local, done).of(path)?;
        self.initialised.extend(order).of(path)?;
        let global = if flags.has(Flags::GLOBAL) { local } else { &[] };
        if fresh.is_empty() {
            self.namespace.make_global(global).of(path)?;
        }
        if let Some(opened) = self.opened_mut(root) {
            opened.count = opened.count.wrapping_add(1);
            opened.pinned |= flags.has(Flags::NODELETE);
        }
        group.live.set(fresh.len());
        self.changes.0 = self.changes.0.saturating_add(from_usize(fresh.len()));
        trace.line(Category::Files, words!("{}: opened, {} new", path, fresh.len()));
        Ok(Some(Opening { root, fresh: order, global, indirect, natives }))
    }

    /// Completes a fresh module: checks its flags, and gives it thread-local storage and its scope.
    fn admit(
        &mut self,
        arena: &'static Arena,
        index: usize,
        root: usize,
        flags: Flags,
    ) -> Result<(), Error<'static>> {
        let Some(module) = self.namespace.get_mut(index) else { return Ok(()) };
        let flags_1 = module.dynamic.flags_1;
        let program = (DF_1_PIE, "opening a program (DF_1_PIE)");
        for (flag, what) in [program, (DF_1_NOOPEN, "opening it at run time (DF_1_NOOPEN)")] {
            (flags_1 & flag == 0).then_some(()).ok_or(Problem::Unsupported(what)).of(module.path)?;
        }
        self.late_tls.admit(arena, module, self.circumstances.trace).of(module.path)?;
        if let Some(opened) = module.opened.as_mut() {
            opened.root = Some(root);
            opened.deep = flags.has(Flags::DEEPBIND);
            opened.pinned |= flags_1 & DF_1_NODELETE != 0;
        }
        Ok(())
    }

    pub(crate) fn opened_mut(&mut self, index: usize) -> Option<&mut Opened<'static>> {
        self.namespace.get_mut(index)?.opened.as_mut()
    }

    /// Undoes an open of which no code has run. Returns the modules to [`remove`](Self::remove).
    pub fn abandon(&mut self, opening: &Opening<'static>) -> &'static [usize] {
        for &index in opening.fresh {
            if let Some(opened) = self.opened_mut(index) {
                opened.stage = Stage::Closing;
            }
        }
        self.initialised.retain(|index| !opening.fresh.contains(index));
        opening.fresh
    }

    /// Announces that the initialisers of a module are about to run.
    pub fn initialising(&mut self, index: usize) {
        let Some(opened) = self.opened_mut(index) else { return };
        opened.begun = true;
        // Libraries that these initialisers open come after this module, but before the modules that are still to be
        // initialised.
        self.initialised.retain(|&other| other != index);
        // This can not fail: the list had room for it before.
        let _ = self.initialised.push(index);
    }

    /// Announces that the finalisers of a module are about to run. `false` if they ran already, because the process is
    /// ending.
    pub fn finalising(&mut self, index: usize) -> bool {
        let before = self.initialised.len();
        self.initialised.retain(|&other| other != index);
        self.initialised.len() != before
    }

    /// Announces that the modules of an open are about to be initialised: it can not fail any more.
    ///
    /// # Errors
    /// The arena has no memory left; nothing has changed.
    pub fn commit(&mut self, opening: &Opening<'static>) -> Result<(), OutOfMemory> {
        self.namespace.make_global(opening.global)?;
        self.advance(opening.fresh, Stage::Initialising);
        Ok(())
    }

    /// Announces that the initialisers of `fresh` have run.
    pub fn settle(&mut self, fresh: &[usize]) {
        self.advance(fresh, Stage::Open);
    }

    fn advance(&mut self, fresh: &[usize], stage: Stage) {
        for &index in fresh {
            if let Some(opened) = self.opened_mut(index).filter(|opened| opened.stage != Stage::Closing) {
                opened.stage = stage;
            }
        }
    }

    /// Unmaps a module that was closed and finalised. Returns the arena of its group if it was the last of the group.
    pub fn remove<S: AddressSpace<Image = I>>(&mut self, sys: &S, index: usize) -> Option<&'static Arena> {
        let module = self.namespace.remove(index)?;
        self.changes.1 = self.changes.1.wrapping_add(1);
        let trace = self.circumstances.trace;
        trace.line(Category::Files, words!("{}: closed", module.path));
        self.late_tls.release(module);
        let placed = module.tls.is_some_and(|tls| tls.distance().is_some());
        sys.unmap(&mut module.image);
        let (group, needer) = (module.opened.as_ref()?.group, module.needer);
        for other in 0..self.namespace.bound() {
            let Some(module) = self.namespace.get_mut(other) else { continue };
            // Its number will be given to another module.
            if module.needer == Some(index) {
                module.needer = needer;
            }
            if let Some(opened) = module.opened.as_mut().filter(|opened| opened.root == Some(index)) {
                opened.root = Some(other);
            }
        }
        if placed {
            let placed = late_tls::placed(&self.namespace);
            self.tls.retain(placed.map(|(late, distance)| (distance, late.segment.mem_size)));
        }
        group.live.set(group.live.get().saturating_sub(1));
        (group.live.get() == 0).then_some(group.arena)
    }

    /// Takes out the module that was initialised last, which is the first to finalise at the end of the process.
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

    /// Puts the modules and all their needs into `queue`, breadth first; with `uses`, also those that words refer to.
    pub(crate) fn close_over(
        &mut self,
        roots: impl Iterator<Item = usize>,
        uses: bool,
    ) -> Result<(), OutOfMemory> {
        self.queue.truncate(0);
        self.marked.truncate(0);
        self.marked.resize(self.namespace.bound(), false)?;
        let Self { namespace, queue, marked, .. } = self;
        let mut reach = |index: usize, queue: &mut List<'static, usize>| match marked.get_mut(index) {
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
            next = next.wrapping_add(1);
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

/// Whether module `index` is being opened, as part of `group`.
fn is_fresh<'a, I: ImageMut>(namespace: &Namespace<'a, I>, index: usize, group: &Group<'a>) -> bool {
    let opened = namespace.get(index).and_then(|module| module.opened.as_ref());
    opened.is_some_and(|opened| opened.stage == Stage::Loading && ptr::eq(opened.group, group))
}
