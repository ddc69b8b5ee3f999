//! Opening and closing libraries, for `slul_dlopen` and its relatives (`dlfcn.rs`).
//!
//! # Safety
//! This file exists because code of libraries is entered by address, and the list of objects is published by a pointer.
#![allow(unsafe_code)]

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};

use rtld::base::addr::to_usize;
use rtld::base::arena::{Arena, List};
use rtld::elf::plan::Protection;
use rtld::elf::symbol::{Name, is_resolver};
use rtld::elf::{consts, st_type};
use rtld::error::{Error, Failure, OWN, OfObject};
use rtld::link::tls::TlsPlace;
use rtld::open::find::Where;
use rtld::open::libraries::{Libraries, Opening, ProcessInfo};
use rtld::open::opened::Flags;
use rtld::os::seam::Image;
use rtld::os::sys::Linux;

use crate::platform::presence;
use crate::run::blocks;
use crate::run::code::{self, Question};
use crate::run::kernel::current_directory;
use crate::run::native::libc::{self, RTLD_DEFAULT, RTLD_NEXT};
use crate::run::native::natives;
use crate::run::open::phdr_info::PhdrInfo;
use crate::run::open::runtime::{ObjectList, RUNTIME, Runtime, object_at, release, runtime};
use crate::run::open::{debugger, static_tls, unwind};
use crate::run::process::{Process, new_arena};
use crate::run::refusal::{Refusal, said};
use crate::run::sync::Lock;
use crate::run::tls;

/// Prepares for opening libraries and listing objects, before anything of the program runs.
pub(crate) fn set_up(process: &'static Process) -> Result<(), Failure<'static>> {
    let arena = new_arena()?;
    let circumstances = ProcessInfo {
        library_path: process.settings.library_path,
        program_path: process.program_path,
        current: current_directory,
        secure: process.secure,
        page: process.page,
        trace: process.trace,
        code: process.code,
    };
    let libraries = Libraries::after(&process.sealed, process.sealed.tls, circumstances, arena)?;
    let mut handles = List::new(arena);
    debugger::for_each(|entry| handles.push(entry))?;
    let native = List::new(arena);
    let state = RefCell::new(ObjectList { libraries, handles, native });
    let (whole, list) = (Lock::new(), Lock::new());
    let runtime = Runtime { process, whole, list, begun: AtomicBool::new(false), state };
    RUNTIME.store(arena.put(runtime)?, Ordering::Release);
    Ok(())
}

/// The objects, for code of libc's world, which may ask for them where the program never does: what that needs is made then.
pub(crate) fn runtime_for_all() -> Option<&'static Runtime> {
    static MAKING: Lock = Lock::new();
    if runtime().is_none()
        && let Some(process) = Process::get()
    {
        let _held = MAKING.hold();
        if runtime().is_none() {
            set_up(process).ok()?;
        }
    }
    runtime()
}

impl ObjectList {
    /// Announces fresh modules to debuggers, before any code of them runs; returns the resolvers to call.
    fn announce(
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
            match (debugger::add(arena, module, module.path, true), handles.get_mut(index)) {
                (Ok(entry), Some(handle)) => *handle = entry,
                (Err(error), _) => added = Err(error).of(OWN),
                _ => {}
            }
        }
        debugger::end_change();
        added?;
        code::questions(arena, namespace, opening.fresh, &opening.indirect)
    }

    /// Removes and unmaps modules; returns the arenas that are not used any more.
    fn forget(&mut self, arena: &'static Arena, objects: &[usize]) -> List<'static, &'static Arena> {
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
            if let Some(TlsPlace::Late(late)) = self.libraries.namespace().get(index).and_then(|module| module.tls)
            {
                blocks::close(late);
            }
            if let Some(group) = self.libraries.remove(&Linux, index) {
                // Without memory to return it, the arena is kept.
                let _ = unused.push(group);
            }
        }
        unused
    }
}

impl Runtime {
    /// Opens a library. Returns a handle, or 0 if RTLD_NOLOAD is set and the library is not loaded; and whether the
    /// contents of `arena` stay in use. `loose`: libraries without ABI note and needs are refused if libc is there.
    pub(crate) fn open(
        &self,
        arena: &'static Arena,
        name: &[u8],
        flags: i32,
        caller: usize,
        loose: bool,
    ) -> Result<(usize, bool), Refusal> {
        let flags = Flags::new(flags).ok_or(Refusal::Mode(flags))?;
        let name = arena.copy(name).of(OWN)?;
        natives::learn_files(self)?;
        let opened = self.with(|state| -> Result<_, Refusal> {
            let caller = object_at(state.libraries.namespace(), caller).unwrap_or(0);
            state.libraries.theirs.is_there = presence::is_bound();
            state.libraries.theirs.takes_loose = loose;
            let opening = state.libraries.open(&Linux, arena, name, caller, flags)?;
            // In one piece with the open: a listing of objects never shows a module without its name.
            Ok(opening.map(|opening| (state.announce(arena, &opening), opening)))
        })??;
        let Some((questions, opening)) = opened else { return Ok((0, false)) };
        if !opening.fresh.is_empty()
            && let Err(refusal) = questions.map_err(Refusal::Error).and_then(|it| self.begin(arena, &opening, &it))
        {
            refusal.tell();
            let abandon = |state: &mut ObjectList| {
                let objects = state.libraries.abandon(&opening);
                state.forget(arena, objects);
            };
            // What is still listed stays known.
            let undone = self.close_natives(opening.fresh).and_then(|()| self.with(abandon));
            return Ok((0, undone.is_err()));
        }
        let handle = self.with(|state| state.handle(opening.root));
        let handle = handle.unwrap_or_else(|refusal| {
            refusal.tell();
            0
        });
        Ok((handle, !opening.fresh.is_empty()))
    }

    /// Runs the code that an open requires: native binding, resolvers, initialisers. An error comes before any initialiser has
    /// run.
    fn begin(&self, arena: &'static Arena, opening: &Opening<'static>, asked: &[Question]) -> Result<(), Refusal> {
        natives::bind(self, arena, opening)?;
        {
            // As in a listing of objects: a handler of a signal that lists them finds the locks taken in one order.
            let _held = self.list.hold();
            natives::changes(true);
        }
        let protect = |state: &ObjectList, protection| {
            code::protect_indirect(state.libraries.namespace(), opening.fresh, &opening.indirect, protection)
        };
        self.with(|state| protect(state, Protection::READ_WRITE))??;
        // SAFETY: the words are writable since just now; a library that is being opened can not be closed.
        unsafe { code::ask_all(asked) };
        let calls = self.with(|state| {
            protect(state, Protection::READ)?;
            let namespace = state.libraries.namespace();
            for &index in opening.fresh {
                let module = namespace.module(index);
                if let Some(TlsPlace::Late(late)) = module.tls {
                    // All words of the initial values have theirs now.
                    static_tls::give(self.process, late).of(module.path)?;
                }
            }
            let calls = code::calls_of(arena, namespace, opening.fresh, code::initialisers).of(OWN)?;
            state.libraries.commit(opening).of(OWN)?;
            Ok::<_, Error<'static>>(calls)
        })??;
        unwind::register(self.process, arena, true);
        self.begun.store(true, Ordering::Relaxed);
        for calls in calls.iter() {
            self.with(|state| state.libraries.initialising(calls.module))?;
            code::initialise(calls.functions.iter().copied(), self.process.arguments());
        }
        self.with(|state| state.libraries.settle(opening.fresh))
    }

    pub(crate) fn close(&self, arena: &'static Arena, handle: usize) -> Result<(), Refusal> {
        let (index, mut objects) = self.with(|state| -> Result<_, Refusal> {
            let index = state.object(handle)?;
            let path = state.libraries.namespace().module(index).path;
            Ok((index, state.libraries.close(arena, index).of(path).map_err(said)?))
        })??;
        // Modules that only these needed, or that their finalisers closed, are closed next.
        while !objects.is_empty() {
            let calls = self.with(|state| {
                let calls = code::calls_of(arena, state.libraries.namespace(), objects, code::finalisers);
                // They can be closed another time.
                calls.of(OWN).inspect_err(|_| state.libraries.reopen(objects, index))
            })??;
            for calls in calls.iter() {
                // If the process is ending, code of the module may still be running.
                if !self.with(|state| state.libraries.finalising(calls.module))? {
                    return Ok(());
                }
                code::finalise(calls.functions.iter().copied());
            }
            self.close_natives(objects)?;
            let unused = self.with(|state| state.forget(arena, objects))?;
            for &group in unused.iter() {
                // SAFETY: the last object of the group is gone, and all that was known of it.
                unsafe { release(group) };
            }
            objects = self.with(|state| state.libraries.unused(arena).of(OWN))??;
        }
        Ok(())
    }

    /// Has libc close the native libraries that nothing needs any more once `objects` are gone, which are still mapped: a
    /// finaliser may call back.
    fn close_natives(&self, objects: &[usize]) -> Result<(), Refusal> {
        for &index in objects {
            let handles = self.with(|state| state.libraries.take_natives(objects, index))?;
            libc::close_all(handles);
        }
        Ok(())
    }

    /// libc's handles of the native libraries that came with an open object.
    pub(crate) fn natives_of(&self, handle: usize, caller: usize) -> &'static [usize] {
        let handles = self.with(|state| {
            let caller = || object_at(state.libraries.namespace(), caller).unwrap_or(0);
            let index = state.object(handle).unwrap_or_else(|_| caller());
            state.libraries.natives_of(index)
        });
        handles.unwrap_or_default()
    }

    pub(crate) fn symbol(&self, handle: usize, wanted: &Name<'static>, caller: usize) -> Result<usize, Refusal> {
        let name = wanted.bytes;
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
            // Formatted now, while the object that the message names is mapped.
            let found = state.libraries.find(place, caller, wanted).map_err(said)?;
            let global = !matches!(place, Where::In(_));
            let found = found.ok_or(Refusal::Symbol(name, global))?;
            let module = state.libraries.namespace().module(found.module);
            Ok(match (st_type(&found.sym), module.tls) {
                (consts::STT_TLS, Some(place)) => {
                    (tls::address(place, found.sym.st_value).ok_or(Refusal::Symbol(name, false))?, false)
                }
                _ => (module.address(&found.sym), is_resolver(&found.sym)),
            })
        })??;
        Ok(to_usize(if is_resolver { code::ask(address) } else { address }.0))
    }

    /// A bound of the modules' numbers: all are less than this.
    pub(crate) fn bound(&self) -> usize {
        self.state.try_borrow().map_or(0, |state| state.libraries.namespace().bound())
    }

    /// Number of objects of this world that were added so far, and that were removed.
    pub(crate) fn changes(&self) -> (u64, u64) {
        self.state.try_borrow().map_or((0, 0), |state| state.libraries.changes)
    }

    /// The description of a module for `dl_iterate_phdr`. `is_mine` says whether the calling thread's pointer leads to its
    /// blocks.
    pub(crate) fn describe(&self, index: usize, is_mine: bool) -> Option<PhdrInfo> {
        let state = self.state.try_borrow().ok()?;
        let (adds, subs) = state.libraries.changes;
        let module = state.libraries.namespace().get(index)?;
        let bias = module.image.bias();
        let (phdrs, count) = module.phdrs.unwrap_or_default();
        Some(PhdrInfo {
            bias: to_usize(bias.0),
            // The program's is empty, as dl_iterate_phdr(3) has it.
            name: if index == 0 { c"".as_ptr() } else { debugger::name(state.handle(index)) },
            phdrs: if count == 0 { 0 } else { to_usize(bias.runtime(phdrs).0) },
            count,
            adds,
            subs,
            tls_id: module.tls.map_or(0, |place| to_usize(place.id())),
            tls_block: module.tls.filter(|_| is_mine).map_or(0, tls::present_block),
        })
    }
}
