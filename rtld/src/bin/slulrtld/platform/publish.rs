//! The native words of program and libraries get their targets, in the place of stubs, once libc is there.
//!
//! # Safety
//! This file exists because those words are written by address, while other threads of the program may call through them.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::elf::plan::Protection;
use rtld::os::seam::Image;

use crate::run::last_words::refuse;
use crate::run::native::binding::{ADDRESSES, TARGETS, entry, protect_slots, seal_again};
use crate::run::process::Process;

/// Replaces the stubs in the words of program and libraries by their targets, and lets the stubs that are left jump on.
pub(crate) fn publish_addresses(process: &'static Process) {
    let natives = &process.sealed.natives;
    protect_slots(process, true, Protection::READ_WRITE).unwrap_or_else(|error| refuse(&error));
    for slot in natives.slots.iter().filter(|slot| slot.lazy) {
        let address = entry(&ADDRESSES, slot.import).load(Ordering::Acquire);
        if address != 0 {
            let place = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
            // SAFETY: a word of the object that relocation has written, unsealed just now.
            unsafe { replace(place, process.code.stubs.address(slot.import), from_usize(address)) };
        }
    }
    seal_again(process, true);
    for (number, _) in (0u32..).zip(natives.imports.iter()) {
        let address = entry(&ADDRESSES, number).load(Ordering::Acquire);
        entry(&TARGETS, number).store(address, Ordering::Release);
    }
}

/// Stores `new` in the word at `place` if it still holds `stub`: what the program has stored there since stays.
///
/// # Safety
/// The word is one that may be written.
unsafe fn replace(place: RuntimeAddr, stub: RuntimeAddr, new: u64) {
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place.0));
    if word.is_aligned() {
        // SAFETY: by the caller; other threads of the program use it as a word, too.
        let word = unsafe { AtomicU64::from_ptr(word) };
        let _ = word.compare_exchange(stub.0, new, Ordering::AcqRel, Ordering::Relaxed);
        return;
    }
    // SAFETY: by the caller. A word across two of the processor's is nobody's to share.
    if unsafe { word.read_unaligned() } == stub.0 {
        // SAFETY: as above.
        unsafe { word.write_unaligned(new) };
    }
}

/// Where [`ADDRESSES`] is, for the template.
pub(crate) fn addresses() -> RuntimeAddr {
    RuntimeAddr::of(ADDRESSES.load(Ordering::Relaxed))
}
