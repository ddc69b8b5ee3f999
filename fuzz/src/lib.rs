//! What the fuzz targets share: an arena for each execution, whose memory is given back after it.
//!
//! # Safety
//! This file exists because the loader's arenas never give anything back, as a start needs it, and a fuzzer starts a
//! million times. It rests on one fact: what an execution is handed does not leave the closure.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;

use rtld::base::arena::{Arena, Source};

/// What an arena's memory is aligned to, in bytes.
const ALIGN: usize = 4096;

thread_local! {
    /// What the arenas of this execution have taken.
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
    // SAFETY: fresh, zeroed, and given back only after `then`.
    if let Some(arena) = unsafe { Arena::in_memory(first, Source::keeping(take)) } {
        then(arena);
    }
    for (start, layout) in TAKEN.take() {
        // SAFETY: taken with this layout; nothing that `then` was handed is left.
        unsafe { dealloc(start.as_ptr(), layout) };
    }
}
