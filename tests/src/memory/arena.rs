//! Memory for what the loader makes.

use std::ptr::NonNull;

use rtld::base::arena::{Arena, Source};

/// Memory for the loader's tables.
fn leak(bytes: usize) -> Option<NonNull<[u8]>> {
    Some(NonNull::from(Box::leak(vec![0u8; bytes].into_boxed_slice())))
}

/// An arena for a start. What tests allocate they keep until they end, as a starting process does.
#[must_use]
pub fn arena() -> &'static Arena {
    Box::leak(Box::new(Arena::new(Source::keeping(leak))))
}
