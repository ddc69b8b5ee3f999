//! Memory for the loader's tables: a bump arena. Single values are never given back, only the arena as a whole.
//!
//! # Safety
//! This file exists because handing out disjoint parts of one allocation as `&mut` needs raw pointers. All of its
//! `unsafe` rests on one fact: `Chunk::carve` returns each byte at most once.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;
use core::{fmt, slice};

/// The system gave no memory; with the number of bytes that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory(pub usize);

/// The functions by which an arena gets memory from the system and gives it back.
#[derive(Clone, Copy)]
pub struct Source {
    take: fn(bytes: usize) -> Option<NonNull<[u8]>>,
    give_back: unsafe fn(NonNull<[u8]>),
}

impl Source {
    /// A source whose memory is never given back. `take` returns at least `bytes` fresh, zeroed bytes aligned to a
    /// page, valid and unaliased for as long as the process lives.
    #[must_use]
    pub const fn keeping(take: fn(bytes: usize) -> Option<NonNull<[u8]>>) -> Self {
        Self { take, give_back: |_| {} }
    }

    /// A source whose memory can be given back. `take` returns at least `bytes` fresh, zeroed bytes aligned to a page,
    /// valid and unaliased until `give_back` is called with the whole of them.
    ///
    /// # Safety
    /// The two functions do that.
    #[must_use]
    pub const unsafe fn new(
        take: fn(bytes: usize) -> Option<NonNull<[u8]>>,
        give_back: unsafe fn(NonNull<[u8]>),
    ) -> Self {
        Self { take, give_back }
    }
}

/// Unused memory: `left` bytes from `next` on.
#[derive(Clone, Copy)]
struct Chunk {
    next: NonNull<u8>,
    left: usize,
}

impl Chunk {
    /// Takes `size` bytes at a multiple of `align` off the front; also returns the remaining chunk.
    fn carve(self, size: usize, align: usize) -> Option<(NonNull<u8>, Self)> {
        // Alignments are powers of two.
        let padding = self.next.addr().get().wrapping_neg() & align.wrapping_sub(1);
        let left = self.left.checked_sub(padding)?.checked_sub(size)?;
        // SAFETY: `padding + size <= self.left`, and `left` bytes from `next` are one allocation.
        let taken = unsafe { self.next.add(padding) };
        // SAFETY: `padding + size <= self.left`: at most one past the end of the allocation.
        let next = unsafe { taken.add(size) };
        Some((taken, Self { next, left }))
    }
}

/// Header at the start of each piece of memory from the source: the previous piece, and the size of this one in bytes.
struct Piece {
    before: Option<NonNull<Piece>>,
    size: usize,
}

/// A bump arena. References that it hands out live as long as the borrow of the arena.
pub struct Arena {
    source: Source,
    chunk: Cell<Chunk>,
    pieces: Cell<Option<NonNull<Piece>>>,
}

/// Bytes that the first request takes from the source. Enough for a start with a few libraries.
const CHUNK: usize = 64 * 1024;

impl Arena {
    /// An empty arena, which asks `source` when it needs memory.
    #[must_use]
    pub const fn new(source: Source) -> Self {
        Self { source, chunk: Cell::new(Chunk { next: NonNull::dangling(), left: 0 }), pieces: Cell::new(None) }
    }

    /// An arena placed at the start of `memory`; the rest of `memory` is its first chunk. `None` if the arena does not
    /// fit.
    ///
    /// # Safety
    /// `memory` has the properties that a [`Source`] guarantees.
    #[must_use]
    pub unsafe fn in_memory(memory: NonNull<[u8]>, source: Source) -> Option<&'static Self> {
        let (piece, chunk) = Self::begin(memory, None)?;
        let (place, rest) = chunk.carve(size_of::<Self>(), align_of::<Self>())?;
        let place = place.cast::<Self>();
        // SAFETY: aligned, within the memory, and not part of what the arena hands out.
        unsafe { place.write(Self { source, chunk: Cell::new(rest), pieces: Cell::new(Some(piece)) }) };
        // SAFETY: just written; valid for as long as the process lives.
        Some(unsafe { place.as_ref() })
    }

    /// Writes the header of a piece into fresh memory, and returns the rest of it as a chunk.
    fn begin(memory: NonNull<[u8]>, before: Option<NonNull<Piece>>) -> Option<(NonNull<Piece>, Chunk)> {
        let chunk = Chunk { next: memory.cast(), left: memory.len() };
        let (place, rest) = chunk.carve(size_of::<Piece>(), align_of::<Piece>())?;
        let place = place.cast::<Piece>();
        // SAFETY: aligned, within the memory, and not part of what the arena hands out.
        unsafe { place.write(Piece { before, size: memory.len() }) };
        Some((place, rest))
    }

    /// A temporary arena of the same source, which gives its memory back when it is dropped.
    #[must_use]
    pub const fn scratch(&self) -> Scratch {
        Scratch(Self::new(self.source))
    }

    /// Gives all memory back to the source.
    ///
    /// # Safety
    /// Nothing uses the arena, or anything that it has handed out, any more.
    pub unsafe fn release(&self) {
        // The arena itself may be in the memory that is given back.
        let Source { give_back, .. } = self.source;
        let mut last = self.pieces.get();
        while let Some(piece) = last {
            // SAFETY: a piece that was not given back yet. The arena itself is in the first, and that is the last here.
            let Piece { before, size } = unsafe { piece.read() };
            last = before;
            // SAFETY: the whole of a piece from the source, which by the caller is unused.
            unsafe { give_back(NonNull::slice_from_raw_parts(piece.cast(), size)) };
        }
    }

    #[inline(never)]
    fn allocate(&self, size: usize, align: usize) -> Result<NonNull<u8>, OutOfMemory> {
        if let Some((taken, rest)) = self.chunk.get().carve(size, align) {
            self.chunk.set(rest);
            return Ok(taken);
        }
        let wanted = size.checked_add(align).and_then(|size| size.checked_add(size_of::<Piece>()));
        let wanted = wanted.ok_or(OutOfMemory(size))?.max(CHUNK);
        let fresh = (self.source.take)(wanted).ok_or(OutOfMemory(wanted))?;
        let (piece, chunk) = Self::begin(fresh, self.pieces.get()).ok_or(OutOfMemory(size))?;
        self.pieces.set(Some(piece));
        let (taken, rest) = chunk.carve(size, align).ok_or(OutOfMemory(size))?;
        self.chunk.set(rest);
        Ok(taken)
    }

    /// `len` copies of `value`.
    ///
    /// # Errors
    /// The source has no memory left.
    #[expect(clippy::mut_from_ref, reason = "each call returns memory that no other call returns")]
    pub fn slice<T: Copy>(&self, len: usize, value: T) -> Result<&mut [T], OutOfMemory> {
        let size = len.checked_mul(size_of::<T>()).ok_or(OutOfMemory(usize::MAX))?;
        let start = self.allocate(size, align_of::<T>())?.cast::<T>();
        for index in 0..len {
            // SAFETY: `start` is aligned and has room for `len` values.
            let place = unsafe { start.add(index) };
            // SAFETY: the place is within that room.
            unsafe { place.write(value) };
        }
        // SAFETY: `len` values were just written, and nothing else was given these bytes.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), len) })
    }

    /// `len` zeroed bytes at a multiple of `align`, a power of two.
    ///
    /// # Errors
    /// The source has no memory left.
    #[expect(clippy::mut_from_ref, reason = "each call returns memory that no other call returns")]
    pub fn bytes(&self, len: usize, align: usize) -> Result<&mut [u8], OutOfMemory> {
        let start = self.allocate(len, align)?;
        // SAFETY: `len` zeroed bytes, as every source gives them, which nothing else was given.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), len) })
    }

    /// `len` arrays of `N` zeros, aligned to the size of an array, rounded up to a power of two.
    ///
    /// # Errors
    /// The source has no memory left.
    #[expect(clippy::mut_from_ref, reason = "each call returns memory that no other call returns")]
    pub fn zeroed<const N: usize>(&self, len: usize) -> Result<&mut [[u64; N]], OutOfMemory> {
        let size = len.checked_mul(size_of::<[u64; N]>()).ok_or(OutOfMemory(usize::MAX))?;
        let start = self.allocate(size, size_of::<[u64; N]>().next_power_of_two().max(align_of::<u64>()))?;
        // SAFETY: aligned, and zeroed bytes, as every source gives them, which nothing else was given.
        Ok(unsafe { slice::from_raw_parts_mut(start.cast().as_ptr(), len) })
    }

    /// A copy of `values`.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn copy<T: Copy>(&self, values: &[T]) -> Result<&[T], OutOfMemory> {
        let source = NonNull::from(values).cast::<u8>();
        // SAFETY: the bytes of `values`.
        let start = unsafe { self.copy_bytes(source, size_of_val(values), align_of::<T>()) }?;
        // SAFETY: a copy of as many values, aligned; nothing else was given these bytes.
        Ok(unsafe { slice::from_raw_parts(start.cast::<T>().as_ptr(), values.len()) })
    }

    /// A copy of `size` bytes, at a multiple of `align`.
    ///
    /// # Safety
    /// `size` bytes can be read at `source`.
    #[inline(never)]
    unsafe fn copy_bytes(
        &self,
        source: NonNull<u8>,
        size: usize,
        align: usize,
    ) -> Result<NonNull<u8>, OutOfMemory> {
        let start = self.allocate(size, align)?;
        // SAFETY: by the caller; fresh memory overlaps nothing.
        unsafe { start.copy_from_nonoverlapping(source, size) };
        Ok(start)
    }

    /// A copy of `parts`, one after the other.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn concat(&self, parts: &[&[u8]]) -> Result<&[u8], OutOfMemory> {
        let size = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let joined = self.bytes(size.ok_or(OutOfMemory(usize::MAX))?, 1)?;
        let mut rest = &mut *joined;
        for part in parts {
            // There is room for all of them.
            let Some((place, after)) = rest.split_at_mut_checked(part.len()) else { break };
            place.copy_from_slice(part);
            rest = after;
        }
        Ok(joined)
    }

    /// `value`, moved into the arena. It is never dropped.
    ///
    /// # Errors
    /// The source has no memory left.
    #[expect(clippy::mut_from_ref, reason = "each call returns memory that no other call returns")]
    pub fn put<T>(&self, value: T) -> Result<&mut T, OutOfMemory> {
        let mut place = self.allocate(size_of::<T>(), align_of::<T>())?.cast::<T>();
        // SAFETY: the place is aligned, large enough, and nothing else was given these bytes.
        unsafe { place.write(value) };
        // SAFETY: just written, and nothing else was given these bytes.
        Ok(unsafe { place.as_mut() })
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("left", &self.chunk.get().left).finish_non_exhaustive()
    }
}

/// An arena that gives its memory back when it is dropped.
pub struct Scratch(Arena);

impl core::ops::Deref for Scratch {
    type Target = Arena;
    fn deref(&self) -> &Arena {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: what it has handed out lives no longer than a borrow of it.
        unsafe { self.0.release() };
    }
}

/// Untyped storage of a list: one function makes it grow, whatever the type of the values.
struct Storage<'a> {
    arena: &'a Arena,
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

impl Storage<'_> {
    /// The place of one more value, which is to be written at once.
    #[inline(never)]
    fn place(&mut self, value: Layout) -> Result<NonNull<u8>, OutOfMemory> {
        if self.len == self.capacity {
            self.grow(value)?;
        }
        // SAFETY: `len < capacity`, the number of values that `start` has room for.
        let place = unsafe { self.start.add(self.len.wrapping_mul(value.size())) };
        self.len = self.len.wrapping_add(1);
        Ok(place)
    }

    fn grow(&mut self, value: Layout) -> Result<(), OutOfMemory> {
        // First about 128 bytes, or two values if they are large: most lists are short.
        let first = 128usize.checked_div(value.size()).unwrap_or(0).clamp(2, 8);
        self.grow_to(self.capacity.saturating_mul(2).max(first), value)
    }

    /// Moves the values to storage with room for `capacity` of them, more than before.
    #[inline(never)]
    fn grow_to(&mut self, capacity: usize, value: Layout) -> Result<(), OutOfMemory> {
        let size = capacity.checked_mul(value.size()).ok_or(OutOfMemory(usize::MAX))?;
        let start = self.arena.allocate(size, value.align())?;
        // SAFETY: both are aligned and hold at least `len` values; fresh memory overlaps nothing. The values
        // move: the old storage is never read again.
        unsafe { start.copy_from_nonoverlapping(self.start, self.len.wrapping_mul(value.size())) };
        self.start = start;
        self.capacity = capacity;
        Ok(())
    }
}

/// A list that grows in an arena. Outgrown storage stays behind in the arena, so a list takes at most twice its final
/// size.
pub struct List<'a, T> {
    storage: Storage<'a>,
    values: PhantomData<T>,
}

impl<'a, T> List<'a, T> {
    /// An empty list, without storage.
    #[must_use]
    pub const fn new(arena: &'a Arena) -> Self {
        let start = NonNull::<T>::dangling().cast();
        Self { storage: Storage { arena, start, len: 0, capacity: 0 }, values: PhantomData }
    }

    fn start(&self) -> NonNull<T> {
        self.storage.start.cast()
    }

    /// Appends all of `values`.
    ///
    /// # Errors
    /// The source has no memory left.
    #[inline(never)]
    pub fn extend(&mut self, values: &[T]) -> Result<(), OutOfMemory>
    where
        T: Copy,
    {
        values.iter().try_for_each(|&value| self.push(value))
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn push(&mut self, value: T) -> Result<(), OutOfMemory> {
        let place = self.storage.place(Layout::new::<T>())?.cast();
        // SAFETY: room for a value of that layout, which is counted, and was not written before.
        unsafe { place.write(value) };
        Ok(())
    }

    /// Makes room for `len` values in all.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn reserve(&mut self, len: usize) -> Result<(), OutOfMemory> {
        if self.storage.capacity < len { self.storage.grow_to(len, Layout::new::<T>()) } else { Ok(()) }
    }

    /// Appends `value` until the list has `len` values. A longer list stays as it is.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn resize(&mut self, len: usize, value: T) -> Result<(), OutOfMemory>
    where
        T: Copy,
    {
        while self.storage.len < len {
            self.push(value)?;
        }
        Ok(())
    }

    /// Keeps at most the first `len` values.
    pub fn truncate(&mut self, len: usize)
    where
        T: Copy,
    {
        self.storage.len = self.storage.len.min(len);
    }

    /// Keeps the values for which `keep` returns true, in their order.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool)
    where
        T: Copy,
    {
        let mut kept = 0;
        for index in 0..self.storage.len {
            let Some(&value) = self.get(index).filter(|&value| keep(value)) else { continue };
            if let Some(place) = self.get_mut(kept) {
                *place = value;
            }
            kept = kept.wrapping_add(1);
        }
        self.storage.len = kept;
    }
}

impl<T: Copy> List<'_, Option<T>> {
    /// Stores `value` at `index`, unless there is a value already. The list grows as far as needed.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn put_first(&mut self, index: usize, value: T) -> Result<(), OutOfMemory> {
        self.resize(index.wrapping_add(1), None)?;
        if let Some(place @ None) = self.get_mut(index) {
            *place = Some(value);
        }
        Ok(())
    }
}

impl<T> core::ops::Deref for List<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` values at `start` are initialised and owned by this list.
        unsafe { slice::from_raw_parts(self.start().as_ptr(), self.storage.len) }
    }
}

impl<T> core::ops::DerefMut for List<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start().as_ptr(), self.storage.len) }
    }
}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, CHUNK, List, OutOfMemory, Source};
    use crate::os::testing::leaking;

    #[test]
    fn parts_are_aligned_and_disjoint() {
        let arena = Arena::new(leaking());
        let bytes = arena.slice(3, 7u8).unwrap();
        let words = arena.slice(5, 0x1122_3344_5566_7788u64).unwrap();
        bytes.fill(9);
        assert!(words.iter().all(|&word| word == 0x1122_3344_5566_7788));
        assert_eq!(words.as_ptr() as usize % 8, 0);
        assert_eq!(arena.concat(&[b"ab", b"", b"c"]).unwrap(), b"abc");
    }

    #[test]
    fn large_requests_get_a_chunk_of_their_own() {
        let arena = Arena::new(leaking());
        assert_eq!(arena.slice(CHUNK * 3, 1u8).unwrap().len(), CHUNK * 3);
    }

    #[test]
    fn lists_keep_their_values_when_they_grow() {
        let arena = Arena::new(leaking());
        let mut list = List::new(&arena);
        for value in 0..1000u32 {
            list.push(value).unwrap();
        }
        assert!(list.iter().copied().eq(0..1000));
    }

    #[test]
    fn an_empty_source_is_an_error() {
        let arena = Arena::new(Source::keeping(|_| None));
        assert_eq!(arena.copy(b"x"), Err(OutOfMemory(CHUNK)));
        assert!(arena.slice(usize::MAX, 0u64).is_err());
    }
}
