//! Memory of threads whose thread pointer is the program's own, so that nothing of the loader's can be found by it. It is found by
//! the kernel's id of the thread.
//!
//! # Safety
//! This file exists because that memory is an array in a mapping, which is never given back.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::base::addr::to_usize;
use rtld::os::sys;

use crate::run::sync::thread_id;

/// Number of places. Threads whose ids differ by a multiple of it share one: what one of them keeps there is lost when another
/// keeps something.
const PLACES: u64 = 256;

/// The places; null before one is needed.
static PLACE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// The calling thread's place, for a `T`, whose bytes are zero at first; `None` if there is no memory for it.
#[inline(never)]
pub(crate) fn place<T>() -> Option<NonNull<T>> {
    let size = size_of::<T>().next_multiple_of(64);
    let mut places = PLACE.load(Ordering::Acquire);
    if places.is_null() {
        let fresh = sys::anonymous(size.saturating_mul(to_usize(PLACES)))?;
        match PLACE.compare_exchange(places, fresh.cast().as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => places = fresh.cast().as_ptr(),
            Err(others) => {
                places = others;
                // SAFETY: mapped just now, and nobody knows of it.
                unsafe { sys::give_back(fresh) };
            }
        }
    }
    let index = to_usize(u64::from(thread_id().cast_unsigned()) % PLACES);
    NonNull::new(places.wrapping_add(index.saturating_mul(size)).cast())
}
