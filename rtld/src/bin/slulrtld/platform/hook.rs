//! The function that ld.so calls when everything is bound and thread-local storage is libc's, before any constructor.
//!
//! # Safety
//! This file exists because ld.so calls it without arguments: its data is behind one pointer, published before ld.so is
//! entered, and taken once.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use libc_template::LoaderImport;
use rtld::base::addr::RuntimeAddr;
use rtld::error::{Error, Failure, OfObject, Problem};
use rtld::open::late_tls;

use crate::platform::environment::Hidden;
use crate::platform::finalisers::{PREINIT, READY, register_finalisers};
use crate::platform::libc_stack::LibcStack;
use crate::platform::main_thread;
use crate::platform::next::next;
use crate::platform::presence::{self, BOUND, STATE};
use crate::platform::thread_local::Snapshot;
use crate::run::blocks;
use crate::run::clock::clock;
use crate::run::code;
use crate::run::last_words::refuse;
use crate::run::native::{binding, libc};
use crate::run::open::runtime::{self, runtime};
use crate::run::open::static_tls;
use crate::run::process::Process;
use crate::run::sync;
use crate::run::tls;

/// The data of the hook.
pub(crate) struct Entering {
    pub(crate) process: &'static Process,
    pub(crate) stack: LibcStack,
    /// Variables that libc sees otherwise while it starts.
    pub(crate) hidden: &'static [Hidden],
    /// The copy of the live thread-local block, which becomes the image for later threads.
    pub(crate) snapshot: Snapshot,
    /// The signal mask to restore.
    pub(crate) signals: u64,
}

pub(crate) static ENTERING: AtomicPtr<Entering> = AtomicPtr::new(ptr::null_mut());

/// Address of the block that `__libc_start_main` gets.
pub(crate) static MAIN_BLOCK: AtomicUsize = AtomicUsize::new(0);

/// Time when the hook ran, in nanoseconds, for the trace.
pub(crate) static HOOKED: AtomicU64 = AtomicU64::new(0);

/// The function in the template's DT_PREINIT_ARRAY, which glibc calls before any constructor.
pub(crate) extern "C" fn preinit() {
    PREINIT.store(true, Ordering::Relaxed);
    hook();
    let before = code::BEFORE_CONSTRUCTORS.swap(ptr::null_mut(), Ordering::Relaxed);
    if !before.is_null() {
        // SAFETY: nothing else is stored there than such a function.
        unsafe { code::function::<extern "C" fn()>(RuntimeAddr::of(before.cast_const()))() };
    }
}

/// Runs when everything is bound and no constructor has run. glibc calls it through [`preinit`], and a second time
/// through the template's entry; musl, which ignores DT_PREINIT_ARRAY, only through the entry.
pub(crate) extern "C" fn hook() {
    let entering = ENTERING.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: null the second time; otherwise the value that `commit` published, in an arena that stays.
    let Some(entering) = (unsafe { entering.as_ref() }) else { return };
    let process = entering.process;
    for &Hidden { index, variable, instead } in entering.hidden {
        // glibc's ld.so exchanges GLIBC_TUNABLES for a copy. In a set-id process it may remove variables, and what
        // follows one moves: such a word is no longer at its index, and stays hidden.
        let expected = process.secure.then_some(instead);
        // SAFETY: the index of a word of envp. This is the thread that brings libc in, called by ld.so.
        unsafe { entering.stack.restore(index, variable, expected) };
    }
    find_libcs_own(process);
    if let Some(mut snapshot) = entering.snapshot {
        // SAFETY: the buffer that the template's PT_TLS describes. libc has copied it to the main thread's storage, and
        // reads it again for later threads only.
        let block = unsafe { snapshot.as_mut() };
        block.fill(0);
        process.sealed.fill_tls(block).unwrap_or_else(|error| refuse(&error));
        if let Some(live) = process.thread_local {
            blocks::moved(live.block.as_ptr().addr(), live.size);
        }
        let natives = &process.sealed.natives;
        let slots = natives.slots.iter().filter(|slot| !slot.lazy).map(|slot| (slot.module, slot.vaddr));
        tls::complete(process, slots);
        let program = process.sealed.namespace.module(0).path;
        main_thread::later_threads_have(snapshot);
        complete_image(process).of(program).unwrap_or_else(|error| refuse(&error));
    }
    for (number, import) in (0u32..).zip(process.sealed.natives.imports.iter()) {
        if import.strong && !binding::is_defined(process, number, import) {
            refuse(&binding::missing(process, number));
        }
    }
    binding::seal_again(process, false);
    // With glibc, a process that ends while libraries are being initialised runs no finalisers.
    if !PREINIT.load(Ordering::Relaxed) || READY.load(Ordering::Relaxed) {
        register_finalisers();
    }
    presence::changed(STATE.fetch_or(BOUND, Ordering::Release));
    HOOKED.store(clock(process.trace), Ordering::Relaxed);
    if sync::set_signal_mask(entering.signals).is_none() {
        let program = process.sealed.namespace.module(0).path;
        refuse(&Error::new(program, Problem::SignalMask));
    }
}

/// Has the loader call libc's own dl_iterate_phdr(3). ld.so has found the loader's, which is the first of that name.
fn find_libcs_own(process: &Process) {
    if !runtime::any(process) {
        return;
    }
    replace_found(next(process, c"dl_iterate_phdr".as_ptr(), None));
}

/// Replaces what ld.so has found. By itself, so that no frame on libc's stack, which stays, keeps the address of the table.
#[inline(never)]
fn replace_found(next: usize) {
    let table = libc::LOADER_TARGETS.load(Ordering::Relaxed);
    // SAFETY: the table has a word for each `LoaderImport`, which can be written until addresses are published.
    let word = unsafe { &*table.add(LoaderImport::DlIteratePhdr as usize) };
    let found = word.swap(next, Ordering::AcqRel);
    if found == next {
        word.store(0, Ordering::Release);
    }
}

/// Adds the initial values of the libraries that are open to the image for later threads.
fn complete_image(process: &Process) -> Result<(), Failure<'static>> {
    let Some(runtime) = runtime() else { return Ok(()) };
    let scratch = process.arena.scratch();
    let all = runtime.with(|state| {
        late_tls::placed(state.libraries.namespace()).try_for_each(|(late, distance)| {
            main_thread::write_image(process, distance, static_tls::values(&scratch, late)?)
        })
    });
    // This thread has the list in use only while no code of an object runs, and libc does not come.
    all.unwrap_or(Ok(()))
}
