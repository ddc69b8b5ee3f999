//! Where an error is kept: aside, so that whoever hands it on hands on one word.
//!
//! Results that have the whole of a [`Problem`] in them are copied through memory at every `?`; that was a good part of
//! the loader's code.
//!
//! # Safety
//! This file exists because a place for a record, taken and given back, is a raw pointer. All of its `unsafe` rests on
//! one fact: who has taken a place is the only one who has it, until it is given back.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, size_of};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::base::arena::OutOfMemory;
use crate::error::{OWN, Problem};
use crate::os::sys;

/// What is wrong with which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Path of the object, or its name in DT_NEEDED. Empty as long as nobody has said it.
    pub object: &'a [u8],
    /// What is wrong with it.
    pub problem: Problem<'a>,
}

/// The place of whoever comes first. There is rarely more than one error at a time, and where memory is what lacks, that
/// can be said.
struct First {
    is_taken: AtomicBool,
    place: UnsafeCell<MaybeUninit<Record<'static>>>,
}

// SAFETY: the place is used by who has set the flag.
unsafe impl Sync for First {}

static FIRST: First = First { is_taken: AtomicBool::new(false), place: UnsafeCell::new(MaybeUninit::uninit()) };

/// What is said where there is no place to say it in.
static NO_PLACE: Record<'static> =
    Record { object: OWN, problem: Problem::OutOfMemory(OutOfMemory(size_of::<Record<'_>>())) };

impl First {
    fn address<'a>(&self) -> NonNull<Record<'a>> {
        NonNull::from(&self.place).cast()
    }
}

/// A record in a place of its own: the first, or else a page.
pub(crate) struct Kept<'a>(NonNull<Record<'a>>);

// SAFETY: it owns the place, and a record can be sent and shared.
unsafe impl Send for Kept<'_> {}
// SAFETY: as above.
unsafe impl Sync for Kept<'_> {}

impl<'a> Kept<'a> {
    pub(crate) fn new(record: Record<'a>) -> Self {
        let place = if FIRST.is_taken.swap(true, Ordering::Acquire) {
            sys::anonymous(size_of::<Record<'_>>()).map(NonNull::cast)
        } else {
            Some(FIRST.address())
        };
        let Some(place) = place else { return Self(NonNull::from(&NO_PLACE)) };
        // SAFETY: just taken, large enough, aligned to what a static and a page are.
        unsafe { place.write(record) };
        Self(place)
    }

    /// Says whose problem it is.
    pub(crate) fn name(&mut self, object: &'a [u8]) {
        if self.0 != NonNull::from(&NO_PLACE) {
            // SAFETY: a place that this value has taken.
            unsafe { self.0.as_mut() }.object = object;
        }
    }
}

impl<'a> Deref for Kept<'a> {
    type Target = Record<'a>;
    fn deref(&self) -> &Record<'a> {
        // SAFETY: a record, which stays there until this value is dropped.
        unsafe { self.0.as_ref() }
    }
}

impl PartialEq for Kept<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Kept<'_> {}

impl Drop for Kept<'_> {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        if self.0 == FIRST.address() {
            FIRST.is_taken.store(false, Ordering::Release);
        } else if self.0 != NonNull::from(&NO_PLACE) {
            // SAFETY: the page that this value has taken, which nobody else uses.
            unsafe { sys::give_back(NonNull::slice_from_raw_parts(self.0.cast(), size_of::<Record<'_>>())) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, OWN, Problem, Record};

    #[test]
    fn many_at_a_time_are_kept_apart() {
        let kept: [_; 3] = core::array::from_fn(|index| {
            Kept::new(Record { object: OWN, problem: Problem::TlsSize(u64::try_from(index).unwrap()) })
        });
        for (size, kept) in (0..).zip(&kept) {
            assert_eq!(kept.problem, Problem::TlsSize(size));
        }
    }

    #[test]
    fn a_record_is_named_where_it_is() {
        let mut kept = Kept::new(Record { object: b"", problem: Problem::NotElf });
        kept.name(b"a");
        assert_eq!(kept.object, b"a");
    }
}
