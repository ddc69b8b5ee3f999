//! The objects of this world at run time: their list, and its locks.
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

use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::base::arena::{Arena, List};
use rtld::error::{OWN, OfObject};
use rtld::link::namespace::{Module, Namespace};
use rtld::link::reloc::Seen;
use rtld::open::libraries::Libraries;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::run::process::Process;
use crate::run::refusal::Refusal;
use crate::run::sync::{Blocked, Held, Lock};

/// What is known at run time.
pub(crate) struct Runtime {
    pub(crate) process: &'static Process,
    pub(crate) whole: Lock,
    pub(crate) list: Lock,
    pub(crate) state: RefCell<State>,
}

pub(crate) struct State {
    pub(crate) libraries: Libraries<'static, MappedImage>,
    /// By number of the module: what callers know it by, which is the address of its entry in the debuggers' list; 0 of
    /// none.
    pub(crate) handles: List<'static, usize>,
    /// What libc's dlopen has answered here, as often as it is open.
    pub(crate) native: List<'static, usize>,
}

pub(crate) static RUNTIME: AtomicPtr<Runtime> = AtomicPtr::new(ptr::null_mut());

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

/// Whether there are libraries, or may come to be some.
pub(crate) fn any(process: &Process) -> bool {
    let Seen { opens, lists, .. } = process.sealed.seen;
    opens || lists || process.sealed.namespace.loaded().count() > 1
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

/// The object that holds an address.
pub(crate) fn object_at(namespace: &Namespace<'static, MappedImage>, address: usize) -> Option<usize> {
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
    pub(crate) fn object(&self, handle: usize) -> Result<usize, Refusal> {
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
}
