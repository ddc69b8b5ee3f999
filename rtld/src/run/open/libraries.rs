//! The objects of this world at run time: what is behind `slul_dlopen` and its relatives (`dlfcn.rs`).
//!
//! Two locks. `whole` lets one open or close happen at a time, initialisers and finalisers included; those may open and
//! close themselves. `list` is held while the list of objects is looked at or changed, never while code of an object
//! runs, but for callbacks of `dl_iterate_phdr`: so a thread can unwind while another's initialiser takes its time.
//!
//! # Safety
//! This file exists because the list of objects is behind one pointer, published once. It is only reached with `list`
//! held, so by one thread at a time; a [`RefCell`] sees to it that this thread, interrupted by a signal, does not reach
//! it twice. A callback that opens or closes something is told that it may not, and does not change the list that it is
//! being shown.
#![allow(unsafe_code)]

use core::cell::{RefCell, RefMut};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{Arena, List};
use rtld::elf::plan::Protection;
use rtld::elf::symbol::Name;
use rtld::elf::{consts, st_type};
use rtld::error::{Error, Failure, OWN, OfObject};
use rtld::link::namespace::{Module, Namespace};
use rtld::link::reloc::Seen;
use rtld::open::find::Where;
use rtld::open::libraries::{Circumstances, Libraries, Opening};
use rtld::open::opened::Flags;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::Linux;

use crate::cpu;
use crate::run::code::{self, Question};
use crate::run::native::libc::{RTLD_DEFAULT, RTLD_NEXT};
use crate::run::native::natives;
use crate::run::open::dlfcn::PhdrInfo;
use crate::run::open::{debugger, unwind};
use crate::run::process::{Process, new_arena};
use crate::run::refusal::{Refusal, said};
use crate::run::sync::{Blocked, Held, Lock};
use crate::run::thread;

/// What is known at run time.
pub(crate) struct Runtime {
    pub(crate) process: &'static Process,
    pub(crate) whole: Lock,
    pub(crate) list: Lock,
    state: RefCell<State>,
}

pub(crate) struct State {
    pub(crate) libraries: Libraries<'static, MappedImage>,
    /// By number of the module: what callers know it by, which is the address of its entry in the debuggers' list; 0 of
    /// none.
    handles: List<'static, usize>,
    /// What libc's dlopen has answered here, as often as it is open.
    native: List<'static, usize>,
}

static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn runtime() -> Option<&'static Runtime> {
    // SAFETY: null, or complete before it was published, and never changed but behind its locks.
    unsafe { RUNTIME.load(Ordering::Acquire).as_ref() }
}

/// Gives an arena's memory back.
///
/// # Safety
/// Nothing that it has handed out is used any more.
pub(crate) unsafe fn release(arena: &'static Arena) {
    // SAFETY: by the caller.
    unsafe { arena.release() };
}

/// Makes it possible to open libraries and to list objects, before anything of the program runs.
pub(crate) fn set_up(process: &'static Process) -> Result<(), Failure<'static>> {
    let arena = new_arena()?;
    let circumstances = Circumstances {
        library_path: process.settings.library_path,
        program_path: process.program_path,
        secure: process.secure,
        page: process.page,
        trace: process.trace,
        code: cpu::code(),
    };
    let libraries = Libraries::after(&process.sealed, process.sealed.tls, circumstances, arena)?;
    let mut handles = List::new(arena);
    debugger::for_each(|entry| handles.push(entry))?;
    let native = List::new(arena);
    let state = RefCell::new(State { libraries, handles, native });
    let runtime = Runtime { process, whole: Lock::new(), list: Lock::new(), state };
    RUNTIME.store(arena.put(runtime)?, Ordering::Release);
    Ok(())
}

/// Whether there are libraries, or may come to be some.
pub(crate) fn any(process: &Process) -> bool {
    let Seen { opens, lists, .. } = process.sealed.seen;
    opens || lists || process.sealed.namespace.loaded().count() > 1
}

/// Runs `then` while nobody changes the debuggers' list.
pub(crate) fn with_list_held(then: impl FnOnce()) {
    let _held = runtime().map(|runtime| runtime.list.hold());
    then();
}

/// Shows each opened library that was not shown before. It stays mapped from then on.
pub(crate) fn with_untold(mut tell: impl FnMut(&Module<'static, MappedImage>)) {
    let Some(runtime) = runtime() else { return };
    let _ = runtime.with(|state| {
        for index in 0..state.libraries.namespace().bound() {
            if state.libraries.keep_untold(index) {
                tell(state.libraries.namespace().module(index));
            }
        }
    });
}

/// Runs the finalisers of what was opened and not closed, the last initialised first.
pub(crate) fn finalise() {
    let Some(runtime) = runtime() else { return };
    let Ok(arena) = new_arena() else { return };
    let next = || {
        runtime.with(|state| {
            let index = state.libraries.pop_initialised()?;
            code::collect(arena, code::finalisers(state.libraries.namespace().get(index)?)).ok()
        })
    };
    while let Ok(Some(calls)) = next() {
        code::finalise(calls.iter().copied());
    }
}

/// The object that holds an address.
fn object_at(namespace: &Namespace<'static, MappedImage>, address: usize) -> Option<usize> {
    let address = RuntimeAddr(from_usize(address));
    let holds = |module: &Module<'static, MappedImage>| {
        module.image.plan().segment_of(module.image.bias().vaddr(address), 1).is_some()
    };
    namespace.all().find(|(_, module)| holds(module)).map(|(index, _)| index)
}

impl State {
    pub(crate) fn handle(&self, index: usize) -> usize {
        self.handles.get(index).copied().unwrap_or(0)
    }

    /// The object behind a handle.
    fn object(&self, handle: usize) -> Result<usize, Refusal> {
        let index = self.handles.iter().position(|&known| known == handle && handle != 0);
        let is_open = |index: &usize| self.libraries.namespace().get(*index).is_some_and(Module::is_available);
        index.filter(is_open).ok_or(Refusal::Handle(handle))
    }

    /// Remembers a handle of libc's.
    pub(crate) fn add_native(&mut self, handle: usize) -> Result<(), Refusal> {
        Ok(self.native.push(handle).of(OWN)?)
    }

    /// Whether libc's dlopen has answered that handle here.
    pub(crate) fn is_native(&self, handle: usize) -> bool {
        self.native.contains(&handle)
    }

    /// Forgets a handle of libc's, once. `false` if there is none such.
    pub(crate) fn forget_native(&mut self, handle: usize) -> bool {
        let Some(index) = self.native.iter().position(|&known| known == handle) else { return false };
        let last = self.native.len().saturating_sub(1);
        self.native.swap(index, last);
        self.native.truncate(last);
        true
    }

    /// Shows debuggers and threads what came, before anything of it runs; answers the resolvers to be asked.
    fn welcome(
        &mut self,
        arena: &'static Arena,
        opening: &Opening<'static>,
    ) -> Result<List<'static, Question>, Error<'static>> {
        let Self { libraries, handles, .. } = self;
        let namespace = libraries.namespace();
        if opening.fresh.is_empty() {
            return Ok(List::new(arena));
        }
        handles.resize(namespace.bound(), 0).of(OWN)?;
        debugger::begin_change(debugger::RT_ADD);
        let mut added = Ok(());
        for &index in opening.fresh {
            let module = namespace.module(index);
            thread::admit(module);
            match (debugger::add(arena, module, false), handles.get_mut(index)) {
                (Ok(entry), Some(handle)) => *handle = entry,
                (Err(error), _) => added = Err(error),
                _ => {}
            }
        }
        debugger::end_change();
        added.of(OWN)?;
        code::protect_indirect(namespace, opening.fresh, &opening.indirect, Protection::READ_WRITE)?;
        code::questions(arena, namespace, opening.fresh, &opening.indirect)
    }

    /// Forgets and unmaps objects; answers the arenas that nothing is in any more.
    fn dismiss(&mut self, arena: &'static Arena, objects: &[usize]) -> List<'static, &'static Arena> {
        let mut unused = List::new(arena);
        debugger::begin_change(debugger::RT_DELETE);
        for &index in objects {
            if let Some(handle) = self.handles.get_mut(index) {
                debugger::remove(*handle);
                *handle = 0;
            }
        }
        debugger::end_change();
        for &index in objects {
            if let Some(group) = self.libraries.remove(&Linux, index) {
                // Without memory to remember it, it stays.
                let _ = unused.push(group);
            }
        }
        unused
    }
}

/// The list is at somebody's disposal, until this is dropped. What was taken last goes first.
struct Change<'r> {
    state: RefMut<'r, State>,
    _held: Held<'r>,
    _blocked: Blocked,
}

impl Runtime {
    /// Looks at the list, or changes it. No handler of a signal meets it half changed.
    pub(crate) fn with<T>(&self, then: impl FnOnce(&mut State) -> T) -> Result<T, Refusal> {
        let Some(mut change) = self.change() else { return Err(Refusal::Busy) };
        Ok(then(&mut change.state))
    }

    #[inline(never)]
    fn change(&self) -> Option<Change<'_>> {
        let blocked = Blocked::new();
        let held = self.list.hold();
        Some(Change { state: self.state.try_borrow_mut().ok()?, _held: held, _blocked: blocked })
    }

    /// Opens; answers a handle, 0 if RTLD_NOLOAD leaves it unopened, and whether something is in the arena for good.
    pub(crate) fn open(
        &self,
        arena: &'static Arena,
        name: &[u8],
        flags: i32,
        caller: usize,
    ) -> Result<(usize, bool), Refusal> {
        let flags = Flags::new(flags).ok_or(Refusal::Mode(flags))?;
        let name = arena.copy(name).of(OWN)?;
        let opened = self.with(|state| -> Result<_, Refusal> {
            let caller = object_at(state.libraries.namespace(), caller).unwrap_or(0);
            let opening = state.libraries.open(&Linux, arena, name, caller, flags)?;
            // At once: who lists the objects finds nothing without a name.
            Ok(opening.map(|opening| (state.welcome(arena, &opening), opening)))
        })??;
        let Some((questions, opening)) = opened else { return Ok((0, false)) };
        if !opening.fresh.is_empty()
            && let Err(refusal) = questions.map_err(Refusal::Error).and_then(|it| self.begin(arena, &opening, &it))
        {
            refusal.tell();
            self.with(|state| {
                let objects = state.libraries.abandon(&opening);
                state.dismiss(arena, objects);
            })?;
            return Ok((0, false));
        }
        let handle = self.with(|state| state.handle(opening.root))?;
        Ok((handle, !opening.fresh.is_empty()))
    }

    /// Runs what has to run of what came. An error comes before anything has.
    fn begin(&self, arena: &'static Arena, opening: &Opening<'static>, asked: &[Question]) -> Result<(), Refusal> {
        natives::bind(self, arena, opening)?;
        unwind::register(self.process, arena, true);
        // SAFETY: made writable by `welcome`; nobody can close what is being opened.
        unsafe { code::ask_all(asked) };
        let calls = self.with(|state| {
            let namespace = state.libraries.namespace();
            code::protect_indirect(namespace, opening.fresh, &opening.indirect, Protection::READ)?;
            code::calls_of(arena, namespace, opening.fresh, code::initialisers).of(OWN)
        })??;
        for calls in calls.iter() {
            self.with(|state| state.libraries.initialising(calls.module))?;
            code::initialise(calls.functions.iter().copied(), self.process.arguments());
        }
        self.with(|state| state.libraries.settle(opening.fresh))
    }

    pub(crate) fn close(&self, arena: &'static Arena, handle: usize) -> Result<(), Refusal> {
        let mut objects = self.with(|state| -> Result<_, Refusal> {
            let index = state.object(handle)?;
            let path = state.libraries.namespace().module(index).path;
            state.libraries.close(arena, index).of(path).map_err(said)
        })??;
        // What only these needed, and their finalisers have closed, goes after them.
        while !objects.is_empty() {
            let calls = self.with(|state| {
                let namespace = state.libraries.namespace();
                code::calls_of(arena, namespace, objects, code::finalisers).of(OWN)
            })??;
            for calls in calls.iter() {
                // If the process is ending, its code may still be running.
                if !self.with(|state| state.libraries.finalising(calls.module))? {
                    return Ok(());
                }
                code::finalise(calls.functions.iter().copied());
            }
            let unused = self.with(|state| state.dismiss(arena, objects))?;
            for &group in unused.iter() {
                // SAFETY: the last object of the group is gone, and all that was known of it.
                unsafe { release(group) };
            }
            objects = self.with(|state| state.libraries.unused(arena).of(OWN))??;
        }
        Ok(())
    }

    pub(crate) fn symbol(&self, handle: usize, name: &'static [u8], caller: usize) -> Result<usize, Refusal> {
        let (address, is_resolver) = self.with(|state| -> Result<_, Refusal> {
            let caller = object_at(state.libraries.namespace(), caller);
            let place = match handle {
                RTLD_DEFAULT => Where::As(caller.unwrap_or(0)),
                RTLD_NEXT => Where::Behind(caller.ok_or(Refusal::NoCaller)?),
                handle => match state.object(handle)? {
                    0 => Where::Global,
                    index => Where::In(index),
                },
            };
            // Said while the object is there that the message names.
            let found = state.libraries.find(place, caller, &Name::by_hand(name)).map_err(said)?;
            let global = !matches!(place, Where::In(_));
            let found = found.ok_or(Refusal::Symbol(name, global))?;
            let module = state.libraries.namespace().module(found.module);
            Ok(match (st_type(&found.sym), module.tls) {
                (consts::STT_TLS, Some(place)) => {
                    (thread::address(place, found.sym.st_value).ok_or(Refusal::Symbol(name, false))?, false)
                }
                (kind, _) => (module.address(&found.sym), kind == consts::STT_GNU_IFUNC),
            })
        })??;
        Ok(to_usize(if is_resolver { code::ask(address) } else { address }.0))
    }

    /// Numbers of objects are less than this.
    pub(crate) fn bound(&self) -> usize {
        self.state.try_borrow().map_or(0, |state| state.libraries.namespace().bound())
    }

    /// What `dl_iterate_phdr` tells of an object.
    pub(crate) fn describe(&self, index: usize) -> Option<PhdrInfo> {
        let state = self.state.try_borrow().ok()?;
        let (adds, subs) = state.libraries.changes;
        let module = state.libraries.namespace().get(index)?;
        let bias = module.image.bias();
        let (phdrs, count) = module.phdrs.unwrap_or_default();
        let tls_id = module.tls.map_or(0, |place| to_usize(place.id));
        Some(PhdrInfo {
            bias: to_usize(bias.0),
            name: debugger::name(state.handle(index)),
            phdrs: if count == 0 { 0 } else { to_usize(bias.runtime(phdrs).0) },
            count,
            adds,
            subs,
            tls_id,
            tls_block: thread::block(tls_id).unwrap_or(0),
        })
    }
}
