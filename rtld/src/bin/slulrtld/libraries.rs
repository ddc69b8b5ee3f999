//! `slul_dlopen` and its relatives, and `dl_iterate_phdr`.
//!
//! Two locks. `whole` lets one open or close happen at a time, initialisers and finalisers included; those may open and
//! close themselves. `list` is held while the list of objects is looked at or changed, never while code of an object
//! runs, but for callbacks of `dl_iterate_phdr`: so a thread can unwind while another's initialiser takes its time.
//!
//! # Safety
//! This file exists because names and handles come from C as addresses, and because the list of objects is behind one
//! pointer, published once. It is only reached with `list` held; a [`RefCell`] sees to it that a callback which opens
//! something is told so, and does not change the list that it is being shown.
#![allow(unsafe_code)]

use core::cell::RefCell;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::arena::{Arena, List, OutOfMemory};
use rtld::elf::{consts, st_type};
use rtld::error::{Error, Escaped, OfObject, Problem};
use rtld::libraries::{Circumstances, Libraries, Opening, Where};
use rtld::mapped::MappedImage;
use rtld::namespace::{Module, Namespace};
use rtld::opened::Flags;
use rtld::plan::Protection;
use rtld::seam::Image;
use rtld::symbol::Name;
use rtld::sys::{self, Linux};

use super::code::{self, Calls};
use super::process::{Process, new_arena};
use super::sync::{self, Lock};
use super::{debugger, start, thread};

/// What is known at run time.
struct Runtime {
    process: &'static Process,
    whole: Lock,
    list: Lock,
    state: RefCell<State>,
}

struct State {
    libraries: Libraries<'static, MappedImage>,
    /// By number of the module: what callers know it by, which is the address of its entry in the debuggers' list; 0 of
    /// none.
    handles: List<'static, usize>,
}

static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(ptr::null_mut());

fn runtime() -> Option<&'static Runtime> {
    // SAFETY: null, or complete before it was published, and never changed but behind its locks.
    unsafe { RUNTIME.load(Ordering::Acquire).as_ref() }
}

/// Why something is not done.
enum Refusal {
    Error(Error<'static>),
    /// The list is being shown to a callback of `dl_iterate_phdr`.
    Busy,
    /// Flags that make no sense.
    Mode(i32),
    /// A handle of nothing that is open.
    Handle(usize),
    /// Nobody has the symbol.
    Symbol(&'static [u8]),
    /// RTLD_NEXT from nowhere.
    NoCaller,
}

impl From<Error<'static>> for Refusal {
    fn from(error: Error<'static>) -> Self {
        Self::Error(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Busy => f.write_str("not from a callback of dl_iterate_phdr"),
            Self::Mode(flags) => write!(f, "invalid mode for slul_dlopen(): {flags:#x}"),
            Self::Handle(handle) => write!(f, "{handle:#x} is no handle of an object that is open"),
            Self::Symbol(name) => write!(f, "undefined symbol: {}", Escaped(name)),
            Self::NoCaller => f.write_str("RTLD_NEXT used in code that is in no object"),
        }
    }
}

/// What memory is asked for in the name of.
const OWN: &[u8] = b"slulrtld";

/// Gives an arena's memory back.
///
/// # Safety
/// Nothing that it has handed out is used any more.
unsafe fn release(arena: &'static Arena) {
    // SAFETY: by the caller; its memory is `sys::anonymous`'s.
    unsafe { arena.release(sys::give_back) };
}

/// Makes it possible to open libraries and to list objects, before anything of the program runs.
pub(crate) fn set_up(process: &'static Process) -> Result<(), Problem<'static>> {
    let arena = new_arena()?;
    let circumstances = Circumstances {
        library_path: process.settings.library_path,
        program_path: process.program_path,
        secure: process.secure,
        page: process.page,
        trace: process.trace,
        code: start::code(),
    };
    let libraries = Libraries::after(&process.sealed, process.sealed.tls, circumstances, arena)?;
    let mut handles = List::new(arena);
    debugger::for_each(|entry| handles.push(entry))?;
    let state = RefCell::new(State { libraries, handles });
    let runtime = Runtime { process, whole: Lock::new(), list: Lock::new(), state };
    RUNTIME.store(arena.put(runtime)?, Ordering::Release);
    Ok(())
}

/// Runs `then` while nobody changes the debuggers' list.
pub(crate) fn with_list_held(then: impl FnOnce()) {
    let _held = runtime().map(|runtime| runtime.list.hold());
    then();
}

/// Runs the finalisers of what was opened and not closed, the last initialised first.
pub(crate) fn finalise() {
    let (Some(runtime), Ok(arena)) = (runtime(), new_arena()) else { return };
    let next = || {
        runtime.with(|state| {
            let index = state.libraries.pop_initialised()?;
            collect(arena, code::finalisers(state.libraries.namespace().get(index)?)).ok()
        })
    };
    while let Ok(Some(calls)) = next() {
        code::finalise(calls.iter().copied());
    }
}

/// Addresses to call, once the list is not held any more.
fn collect(arena: &'static Arena, calls: impl Iterator<Item = RuntimeAddr>) -> Result<Calls, OutOfMemory> {
    let mut list = List::new(arena);
    for call in calls {
        list.push(call)?;
    }
    Ok(list)
}

/// The object that holds an address, or 0, the program.
fn object_at(namespace: &Namespace<'static, MappedImage>, address: usize) -> Option<usize> {
    let address = RuntimeAddr(from_usize(address));
    let holds = |module: &Module<'static, MappedImage>| {
        module.plan.segment_of(module.image.bias().vaddr(address), 1).is_some()
    };
    namespace.all().find(|(_, module)| holds(module)).map(|(index, _)| index)
}

impl State {
    fn handle(&self, index: usize) -> usize {
        self.handles.get(index).copied().unwrap_or(0)
    }

    /// The object behind a handle.
    fn object(&self, handle: usize) -> Result<usize, Refusal> {
        let index = self.handles.iter().position(|&known| known == handle && handle != 0);
        let is_open = |index: &usize| self.libraries.namespace().get(*index).is_some_and(Module::is_available);
        index.filter(is_open).ok_or(Refusal::Handle(handle))
    }

    /// Shows debuggers and threads what came, before anything of it runs; answers the resolvers to be asked.
    fn welcome(
        &mut self,
        arena: &'static Arena,
        opening: &Opening<'static>,
    ) -> Result<List<'static, code::Question>, Error<'static>> {
        let Self { libraries, handles } = self;
        let namespace = libraries.namespace();
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

impl Runtime {
    /// Looks at the list, or changes it. No handler of a signal meets it half changed.
    fn with<T>(&self, then: impl FnOnce(&mut State) -> T) -> Result<T, Refusal> {
        sync::without_signals(|| {
            let _held = self.list.hold();
            let mut state = self.state.try_borrow_mut().map_err(|_| Refusal::Busy)?;
            Ok(then(&mut state))
        })
    }

    /// Opens; answers a handle, 0 if RTLD_NOLOAD leaves it unopened, and whether something is in the arena for good.
    fn open(
        &self,
        arena: &'static Arena,
        name: &[u8],
        flags: i32,
        caller: usize,
    ) -> Result<(usize, bool), Refusal> {
        let flags = Flags::new(flags).ok_or(Refusal::Mode(flags))?;
        let name = arena.copy(name).of(OWN)?;
        let opening = self.with(|state| {
            let caller = object_at(state.libraries.namespace(), caller).unwrap_or(0);
            state.libraries.open(&Linux, arena, name, caller, flags)
        })??;
        let Some(opening) = opening else { return Ok((0, false)) };
        if !opening.fresh.is_empty()
            && let Err(refusal) = self.begin(arena, &opening)
        {
            thread::fail(format_args!("{refusal}"));
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
    fn begin(&self, arena: &'static Arena, opening: &Opening<'static>) -> Result<(), Refusal> {
        let questions = self.with(|state| state.welcome(arena, opening))??;
        // SAFETY: just made writable; nobody can close what is being opened.
        unsafe { code::ask_all(&questions) };
        let calls = self.with(|state| {
            let namespace = state.libraries.namespace();
            code::protect_indirect(namespace, opening.fresh, &opening.indirect, Protection::READ)?;
            let modules = opening.fresh.iter().map(|&index| namespace.module(index));
            collect(arena, modules.flat_map(code::initialisers)).of(OWN)
        })??;
        code::initialise(calls.iter().copied(), self.process.arguments());
        self.with(|state| state.libraries.settle(opening.fresh))
    }

    fn close(&self, arena: &'static Arena, handle: usize) -> Result<(), Refusal> {
        let (objects, calls) = self.with(|state| -> Result<_, Refusal> {
            let index = state.object(handle)?;
            let path = state.libraries.namespace().module(index).path;
            let objects = state.libraries.close(arena, index).of(path)?;
            let namespace = state.libraries.namespace();
            let modules = objects.iter().map(|&index| namespace.module(index));
            Ok((objects, collect(arena, modules.flat_map(code::finalisers)).of(path)?))
        })??;
        if objects.is_empty() {
            return Ok(());
        }
        code::finalise(calls.iter().copied());
        let unused = self.with(|state| state.dismiss(arena, objects))?;
        for &group in unused.iter() {
            // SAFETY: the last object of the group is gone, and all that was known of it.
            unsafe { release(group) };
        }
        Ok(())
    }

    fn symbol(&self, handle: usize, name: &'static [u8], caller: usize) -> Result<usize, Refusal> {
        const RTLD_DEFAULT: usize = 0;
        const RTLD_NEXT: usize = usize::MAX;
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
            let found = state.libraries.find(place, caller, &Name::by_hand(name))?;
            let found = found.ok_or(Refusal::Symbol(name))?;
            let module = state.libraries.namespace().module(found.module);
            Ok(match (st_type(&found.sym), module.tls) {
                (consts::STT_TLS, Some(place)) => {
                    (thread::address(place, found.sym.st_value).ok_or(Refusal::Symbol(name))?, false)
                }
                (kind, _) => (module.address(&found.sym), kind == consts::STT_GNU_IFUNC),
            })
        })??;
        Ok(to_usize(if is_resolver { code::ask(address) } else { address }.0))
    }
}

/// One operation, with an arena that goes with it unless the operation says that something stays in it. The answer is
/// `failed` if it fails, and `slul_dlerror` says why.
fn operate<T>(
    failed: T,
    operation: impl FnOnce(&'static Runtime, &'static Arena) -> Result<(T, bool), Refusal>,
) -> T {
    let Some(runtime) = runtime() else { return failed };
    let arena = match new_arena() {
        Ok(arena) => arena,
        Err(problem) => {
            thread::fail(format_args!("{problem}"));
            return failed;
        }
    };
    let _whole = runtime.whole.hold();
    let (result, stays) = operation(runtime, arena).unwrap_or_else(|refusal| {
        thread::fail(format_args!("{refusal}"));
        (failed, false)
    });
    if !stays {
        // SAFETY: nothing was left in it; a message was copied.
        unsafe { release(arena) };
    }
    result
}

/// # Safety
/// A string of C's, or null, that lives through the operation it is used in.
unsafe fn string(name: *const c_char) -> Option<&'static [u8]> {
    // SAFETY: by the caller.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// dlopen(3) of libc-free libraries, with the address that it returns to. No name, or an empty one, is the program.
pub(crate) extern "C" fn open(name: *const c_char, flags: i32, caller: usize) -> usize {
    // SAFETY: what C promises.
    let name = unsafe { string(name) }.unwrap_or_default();
    operate(0, |runtime, arena| {
        if name.is_empty() {
            Flags::new(flags).ok_or(Refusal::Mode(flags))?;
            return Ok((runtime.with(|state| state.handle(0))?, false));
        }
        runtime.open(arena, name, flags, caller)
    })
}

/// dlsym(3), with the address that it returns to.
pub(crate) extern "C" fn symbol(handle: usize, name: *const c_char, caller: usize) -> usize {
    // SAFETY: what C promises.
    let (Some(name), Some(runtime)) = (unsafe { string(name) }, runtime()) else { return 0 };
    runtime.symbol(handle, name, caller).unwrap_or_else(|refusal| {
        thread::fail(format_args!("{refusal}"));
        0
    })
}

/// dlclose(3): 0, or -1 if the handle is none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dlclose(handle: usize) -> i32 {
    operate(-1, |runtime, arena| runtime.close(arena, handle).map(|()| (0, false)))
}

/// `struct dl_phdr_info` of <link.h>.
#[repr(C)]
pub(crate) struct PhdrInfo {
    bias: usize,
    name: *const c_char,
    phdrs: usize,
    count: u16,
    adds: u64,
    subs: u64,
    tls_id: usize,
    tls_block: usize,
}

type Callback = extern "C" fn(*mut PhdrInfo, usize, usize) -> i32;

/// dl_iterate_phdr(3), of the objects of this world.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn dl_iterate_phdr(callback: Callback, data: usize) -> i32 {
    let Some(runtime) = runtime() else { return 0 };
    let _held = runtime.list.hold();
    // It is borrowed mutably only with signals blocked, and by nobody who calls back.
    let Ok(state) = runtime.state.try_borrow() else { return 0 };
    let (adds, subs) = state.libraries.changes;
    for (index, module) in state.libraries.namespace().all() {
        let bias = module.image.bias();
        let (phdrs, count) = module.phdrs.unwrap_or_default();
        let tls_id = module.tls.map_or(0, |place| to_usize(place.id));
        let mut info = PhdrInfo {
            bias: to_usize(bias.0),
            name: debugger::name(state.handle(index)),
            phdrs: if count == 0 { 0 } else { to_usize(bias.runtime(phdrs).0) },
            count,
            adds,
            subs,
            tls_id,
            tls_block: thread::block(tls_id).unwrap_or(0),
        };
        match callback(&raw mut info, size_of::<PhdrInfo>(), data) {
            0 => {}
            stop => return stop,
        }
    }
    0
}
