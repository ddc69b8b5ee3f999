//! The objects of this world at run time: their list, and its locks.
//!
//! There are two locks. `whole` serialises opens and closes, initialisers and finalisers included; those may open and
//! close libraries themselves. `list` is held while the list of objects is read or changed, but never while code of an
//! object runs, except callbacks of `dl_iterate_phdr`: so a thread can unwind while an initialiser in another thread
//! takes its time.
//!
//! # Safety
//! This file exists because the list of objects is behind one pointer, published once. It is only reached with `list`
//! held, so by one thread at a time; a [`RefCell`] keeps this thread, when interrupted by a signal, from reaching it
//! twice. A callback that opens or closes a library gets a refusal, and so does not change the list that it is being
//! shown.
#![allow(unsafe_code)]

use core::cell::{RefCell, RefMut};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::base::arena::{Arena, List};
use rtld::error::{OWN, OfObject};
use rtld::link::namespace::{Module, Namespace};
use rtld::link::reloc::SpecialReferences;
use rtld::open::libraries::Libraries;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::run::process::Process;
use crate::run::refusal::Refusal;
use crate::run::sync::{Blocked, Held, Lock};

/// The objects at run time, and their locks.
pub(crate) struct Runtime {
    pub(crate) process: &'static Process,
    pub(crate) whole: Lock,
    pub(crate) list: Lock,
    /// Whether initialisers of an opened library have ever begun, so that there may be finalisers to run at exit.
    pub(crate) begun: AtomicBool,
    pub(crate) state: RefCell<ObjectList>,
}

pub(crate) struct ObjectList {
    pub(crate) libraries: Libraries<'static, MappedImage>,
    /// Handles by number of the module. A handle is the address of the module's entry in the debuggers' list; 0 for
    /// none.
    pub(crate) handles: List<'static, usize>,
    /// Handles that libc's dlopen returned here, once for each open that was not closed yet.
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
/// Nothing that the arena has handed out is used any more.
pub(crate) unsafe fn release(arena: &'static Arena) {
    // SAFETY: by the caller.
    unsafe { arena.release() };
}

/// Whether the process has libraries, or may open some.
pub(crate) fn any(process: &Process) -> bool {
    let SpecialReferences { opens, lists, .. } = process.sealed.seen;
    opens || lists || process.sealed.namespace.loaded().count() > 1
}

/// Calls `tell` for each opened library whose unwind tables were not registered yet. Such a library stays mapped from
/// then on.
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

/// Number of the module that contains an address.
pub(crate) fn object_at(namespace: &Namespace<'static, MappedImage>, address: usize) -> Option<usize> {
    let address = RuntimeAddr(from_usize(address));
    let holds = |module: &Module<'static, MappedImage>| {
        module.image.plan().segment_of(module.image.bias().vaddr(address), 1).is_some()
    };
    namespace.all().find(|(_, module)| holds(module)).map(|(index, _)| index)
}

impl ObjectList {
    pub(crate) fn handle(&self, index: usize) -> usize {
        self.handles.get(index).copied().unwrap_or(0)
    }

    /// Number of the module that a handle means.
    pub(crate) fn object(&self, handle: usize) -> Result<usize, Refusal> {
        let index = self.handles.iter().position(|&known| known == handle && handle != 0);
        let is_open = |index: &usize| self.libraries.namespace().get(*index).is_some_and(Module::is_available);
        index.filter(is_open).ok_or(Refusal::Handle(handle))
    }

    /// Records a handle of libc's.
    pub(crate) fn add_native(&mut self, handle: usize) -> Result<(), Refusal> {
        Ok(self.native.push(handle).of(OWN)?)
    }

    /// Whether libc's dlopen returned that handle here.
    pub(crate) fn is_native(&self, handle: usize) -> bool {
        self.native.contains(&handle)
    }

    /// Forgets one record of a handle of libc's. `false` if there is none.
    pub(crate) fn forget_native(&mut self, handle: usize) -> bool {
        let Some(index) = self.native.iter().position(|&known| known == handle) else { return false };
        let last = self.native.last().copied().unwrap_or(0);
        self.native.get_mut(index).into_iter().for_each(|place| *place = last);
        self.native.truncate(self.native.len().saturating_sub(1));
        true
    }
}

/// Exclusive access to the list. On drop, the fields are released in the reverse order of taking.
struct Change<'r> {
    state: RefMut<'r, ObjectList>,
    _held: Held<'r>,
    _blocked: Blocked,
}

impl Runtime {
    /// Calls `then` with exclusive access to the list, and signals blocked: a signal handler never finds it half
    /// changed.
    pub(crate) fn with<T>(&self, then: impl FnOnce(&mut ObjectList) -> T) -> Result<T, Refusal> {
        // Looked at where it is: it is several words, and this is in many places.
        let mut change = self.change();
        match &mut change {
            Ok(change) => Ok(then(&mut change.state)),
            Err(true) => Err(Refusal::Busy),
            Err(false) => Err(Refusal::Forked),
        }
    }

    #[inline(never)]
    /// Without access, returns whether it is this thread that has it, and not one that is gone.
    fn change(&self) -> Result<Change<'_>, bool> {
        let blocked = Blocked::new();
        let held = self.list.hold();
        let state = self.state.try_borrow_mut().map_err(|_| held.is_again())?;
        Ok(Change { state, _held: held, _blocked: blocked })
    }
}
