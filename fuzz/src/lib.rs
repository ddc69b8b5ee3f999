//! An arena for each execution of a fuzz target, whose memory is freed after it.
//!
//! # Safety
//! The loader's arenas never free memory, because a start does not need it; a fuzzer makes millions of starts. The file
//! relies on one fact: no reference into an execution's arena leaves the closure.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;

use rtld::base::arena::{Arena, Source};

/// Alignment of an arena's memory in bytes.
const ALIGN: usize = 4096;

thread_local! {
    /// The allocations of this execution's arena.
    static TAKEN: RefCell<Vec<(NonNull<u8>, Layout)>> = const { RefCell::new(Vec::new()) };
}

fn take(bytes: usize) -> Option<NonNull<[u8]>> {
    let layout = Layout::from_size_align(bytes.max(1), ALIGN).ok()?;
    // SAFETY: the size is not zero.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
    TAKEN.with_borrow_mut(|taken| taken.push((start, layout)));
    Some(NonNull::slice_from_raw_parts(start, layout.size()))
}

/// Runs `then` with an arena of its own.
pub fn with_arena(then: impl FnOnce(&'static Arena)) {
    const FIRST: usize = 64 * 1024;
    let Some(first) = take(FIRST) else { return };
    // SAFETY: the memory is new, zeroed, and freed only after `then`.
    if let Some(arena) = unsafe { Arena::in_memory(first, Source::keeping(take)) } {
        then(arena);
    }
    for (start, layout) in TAKEN.take() {
        // SAFETY: allocated with this layout; `then` has ended, and with it all references to the arena.
        unsafe { dealloc(start.as_ptr(), layout) };
    }
}
