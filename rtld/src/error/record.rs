//! The storage of errors, apart from the results that carry them: a result then contains one word.
//!
//! A result that contains a whole [`Problem`] is copied through memory at every `?`; that was a considerable part of
//! the loader's code. There are a few places, shared by all threads: so a lack of memory can be reported as well.
//!
//! # Safety
//! This file exists because a place for a record, taken and given back, is a raw pointer. All of its `unsafe` rests on
//! one fact: a place that is taken belongs to one value alone, until it is given back.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::error::problem::Problem;

/// The object named in an error that is about no file: the loader, as for memory for its own tables.
pub const OWN: &[u8] = b"slulrtld";

/// A problem, and the object that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Path of the object, or its name in DT_NEEDED. Empty until it is added.
    pub object: &'a [u8],
    /// The problem.
    pub problem: Problem<'a>,
}

/// A place for a record.
struct RecordPlace {
    is_taken: AtomicBool,
    record: UnsafeCell<MaybeUninit<Record<'static>>>,
}

// SAFETY: only the value that has set the flag uses the record.
unsafe impl Sync for RecordPlace {}

impl RecordPlace {
    const fn free() -> Self {
        Self { is_taken: AtomicBool::new(false), record: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    fn address<'a>(&self) -> NonNull<Record<'a>> {
        NonNull::from(&self.record).cast()
    }
}

/// Number of places. A thread has one error at a time, and a second if it continues after the first, as in a search.
/// The tests of the debug build are many threads.
const COUNT: usize = if cfg!(debug_assertions) { 512 } else { 16 };

static PLACES: [RecordPlace; COUNT] = [const { RecordPlace::free() }; COUNT];

/// The record to use when no place is free.
static NO_PLACE: Record<'static> = Record { object: OWN, problem: Problem::TooManyErrors };

/// A record in a place of its own.
pub(crate) struct Kept<'a>(NonNull<Record<'a>>);

// SAFETY: it owns the place, and a record can be sent and shared.
unsafe impl Send for Kept<'_> {}
// SAFETY: it owns the place, and a record can be sent and shared.
unsafe impl Sync for Kept<'_> {}

impl<'a> Kept<'a> {
    pub(crate) fn new(record: Record<'a>) -> Self {
        let free = PLACES.iter().find(|place| !place.is_taken.swap(true, Ordering::Acquire));
        let Some(place) = free.map(RecordPlace::address) else { return Self(NonNull::from(&NO_PLACE)) };
        // SAFETY: just taken, and of this type.
        unsafe { place.write(record) };
        Self(place)
    }

    /// Adds the object.
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
        if let Some(place) = PLACES.iter().find(|place| place.address() == self.0) {
            place.is_taken.store(false, Ordering::Release);
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
    fn a_place_is_free_again_once_its_record_is_dropped() {
        for size in 0..100_000 {
            assert_eq!(
                Kept::new(Record { object: OWN, problem: Problem::TlsSize(size) }).problem,
                Problem::TlsSize(size)
            );
        }
    }

    #[test]
    fn a_record_is_named_where_it_is() {
        let mut kept = Kept::new(Record { object: b"", problem: Problem::NotElf });
        kept.name(b"a");
        assert_eq!(kept.object, b"a");
    }
}
