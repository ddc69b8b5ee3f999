//! The publication of native addresses: once libc is present, they replace the stubs in the words of program and
//! libraries.
//!
//! # Safety
//! This file exists because those words are written by address, while other threads of the program may call through
//! them.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::note::FLAG_EAGER_LIBC;
use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::elf::plan::Protection;
use rtld::error::Problem;
use rtld::machine::{Machine, Native, RelocKind};
use rtld::native::needs::Slot;
use rtld::os::seam::Image;

use crate::run::last_words::refuse;
use crate::run::native::binding::{ADDRESSES, TARGETS, entry, protect_slots, protect_tables, seal_again};
use crate::run::process::Process;
use crate::run::sync::{Lock, set_signal_mask};
use crate::run::thread_pointer::is_libcs;

/// Whether words of [`Published::Held`] still wait.
static HELD: AtomicBool = AtomicBool::new(false);

/// Kept while words are published.
static PUBLISHING: Lock = Lock::new();

/// Which words are published when libc is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// All: a call is being made, from a thread that has been looked at.
    All,
    /// Nothing of the program has run. Its first call shows whether it has made a thread pointer of its own by then, so words
    /// that are called wait for it; where nobody is promised addresses that equal dlsym's, all do.
    Held {
        /// Published through which functions are only called.
        only_called: bool,
    },
}

/// Whether the program, or a library of the start, asks for libc before the entry.
pub(crate) fn has_eager_note(process: &Process) -> bool {
    let mut loaded = process.sealed.namespace.loaded();
    loaded.any(|(_, it)| it.note.is_some_and(|note| note.flags & FLAG_EAGER_LIBC != 0))
}

/// Replaces the stubs in the words of program and libraries by their targets, and sets the targets of the stubs
/// themselves.
pub(crate) fn publish_addresses(process: &'static Process, words: Published) {
    let natives = &process.sealed.natives;
    let called = Native::number(RelocKind::JumpSlot);
    let held = |slot: &Slot| match words {
        Published::All => false,
        Published::Held { only_called } => !only_called || slot.r_type == called,
    };
    protect_slots(process, true, Protection::READ_WRITE).unwrap_or_else(|error| refuse(&error));
    for slot in natives.slots.iter().filter(|slot| slot.lazy && !held(slot)) {
        let address = entry(&ADDRESSES, slot.import).load(Ordering::Acquire);
        if address != 0 {
            let place = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
            // SAFETY: a word of the object that relocation has written, unsealed just now.
            unsafe { replace(place, process.code.stubs.address(slot.import), from_usize(address)) };
        }
    }
    seal_again(process, true);
    if words == Published::All {
        for (number, _) in (0u32..).zip(natives.imports.iter()) {
            let address = entry(&ADDRESSES, number).load(Ordering::Acquire);
            entry(&TARGETS, number).store(address, Ordering::Release);
        }
    }
    let _ = protect_tables(process, Protection::READ);
    HELD.store(words != Published::All, Ordering::Release);
}

/// Publishes the words that wait for the first call of the program, which the calling thread makes.
///
/// # Errors
/// The thread is none of libc's; [`Problem::SignalMask`].
pub(crate) fn publish_held(process: &'static Process) -> Result<(), Problem<'static>> {
    if !HELD.load(Ordering::Acquire) {
        return Ok(());
    }
    is_libcs(process.page)?;
    // A handler that makes such a call in the middle of this would seal the words.
    let signals = set_signal_mask(u64::MAX).ok_or(Problem::SignalMask)?;
    let held = PUBLISHING.hold();
    let mut unsealed = Ok(());
    if HELD.load(Ordering::Acquire) {
        unsealed = protect_tables(process, Protection::READ_WRITE);
        if unsealed.is_ok() {
            publish_addresses(process, Published::All);
        }
    }
    drop(held);
    set_signal_mask(signals).ok_or(Problem::SignalMask)?;
    unsealed.map_err(Problem::Protect)
}

/// Stores `new` in the word at `place`, unless the program has replaced `stub` there by another value.
///
/// # Safety
/// The word is writable, and the caller's to write.
unsafe fn replace(place: RuntimeAddr, stub: RuntimeAddr, new: u64) {
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place.0));
    if word.is_aligned() {
        // SAFETY: by the caller; other threads of the program use it as a word, too.
        let word = unsafe { AtomicU64::from_ptr(word) };
        let _ = word.compare_exchange(stub.0, new, Ordering::AcqRel, Ordering::Relaxed);
        return;
    }
    // SAFETY: by the caller. Threads can not share a misaligned word.
    if unsafe { word.read_unaligned() } == stub.0 {
        // SAFETY: by the caller.
        unsafe { word.write_unaligned(new) };
    }
}
