//! An arena on the host's heap.

use std::ptr::NonNull;

use rtld::base::arena::{Arena, Source};

/// `bytes` zeroed bytes that are never freed.
fn leak(bytes: usize) -> Option<NonNull<[u8]>> {
    Some(NonNull::from(Box::leak(vec![0u8; bytes].into_boxed_slice())))
}

/// An arena for a start. Its memory lives until the test ends, like that of a starting process.
#[must_use]
pub fn arena() -> &'static Arena {
    Box::leak(Box::new(Arena::new(Source::keeping(leak))))
}
