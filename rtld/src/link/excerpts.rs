//! What was read of a file that is not mapped, in one small buffer that is never cleared.
#![forbid(unsafe_code)]

use core::ffi::CStr;
use core::mem::{MaybeUninit, take};

use crate::base::addr::{FileOffset, from_usize, to_usize};
use crate::error::Errno;
use crate::os::seam::Files;

/// How many places of a file are read.
const MOST: usize = 4;

/// Size in bytes of the first read: headers, notes, DT_GNU_HASH, and the dynamic strings of half of all libraries.
const HEAD: usize = 2048;

/// Least size in bytes of the others. The names of all that a library needs lie within that in nearly all of them.
pub(crate) const LEAST: usize = 512;

/// Size in bytes of all reads together: HEAD, and the longest dynamic section and the names of most libraries.
const ROOM: usize = 3584;

/// Room for what is read, not initialised.
pub(crate) const fn room() -> [MaybeUninit<u8>; ROOM] {
    [const { MaybeUninit::uninit() }; ROOM]
}

/// Bytes from one place of a file.
#[derive(Clone, Copy, Default)]
struct Excerpt<'b> {
    offset: u64,
    bytes: &'b [u8],
}

impl<'b> Excerpt<'b> {
    /// What it has from `offset` on.
    fn from(&self, offset: u64) -> Option<&'b [u8]> {
        self.bytes.get(to_usize(offset.checked_sub(self.offset)?)..)
    }
}

/// What was read of a file, in one buffer.
pub(crate) struct Excerpts<'b> {
    all: [Excerpt<'b>; MOST],
    count: usize,
    free: &'b mut [MaybeUninit<u8>],
}

impl<'b> Excerpts<'b> {
    /// Nothing yet.
    pub(crate) fn new(room: &'b mut [MaybeUninit<u8>]) -> Self {
        Self { all: [Excerpt::default(); MOST], count: 0, free: room }
    }

    /// Reads the start of a file: not beyond the end of a small one, where there would be a second call to hear of that.
    ///
    /// # Errors
    /// As read(2).
    pub(crate) fn head<F: Files>(&mut self, sys: &F, file: &F::File, size: u64) -> Result<&'b [u8], Errno> {
        self.read(sys, file, 0, to_usize(size.min(from_usize(HEAD))))
    }

    /// Reads so many bytes, or as many as there are and fit.
    fn read<F: Files>(&mut self, sys: &F, file: &F::File, offset: u64, size: usize) -> Result<&'b [u8], Errno> {
        let free = take(&mut self.free);
        let (place, rest) = free.split_at_mut(size.min(free.len()));
        self.free = rest;
        let bytes = &*sys.read_at(file, FileOffset(offset), place)?;
        if let Some(excerpt) = self.all.get_mut(self.count) {
            *excerpt = Excerpt { offset, bytes };
            self.count = self.count.saturating_add(1);
        }
        Ok(bytes)
    }

    /// Reads what is missing. `false` if it is too much, or too often.
    pub(crate) fn complete<F: Files>(
        &mut self,
        sys: &F,
        file: &F::File,
        missing: Missing,
        size: u64,
    ) -> Result<bool, Errno> {
        let Missing { offset, len } = missing;
        if self.count == MOST || len > from_usize(self.free.len()) {
            return Ok(false);
        }
        let wanted = to_usize(len).max(LEAST).min(to_usize(size.saturating_sub(offset)));
        self.read(sys, file, offset, wanted)?;
        Ok(true)
    }

    /// The `len` bytes at `offset`, if they were read.
    pub(crate) fn get(&self, offset: u64, len: usize) -> Option<&'b [u8]> {
        self.all.iter().find_map(|excerpt| excerpt.from(offset)?.get(..len))
    }

    /// The string at `offset` and its NUL, if they were read and take at most `limit` bytes.
    pub(crate) fn string(&self, offset: u64, limit: usize) -> Option<&'b CStr> {
        self.all.iter().find_map(|excerpt| {
            let bytes = excerpt.from(offset)?;
            CStr::from_bytes_until_nul(bytes.get(..limit.min(bytes.len()))?).ok()
        })
    }
}

/// Bytes of the file that a rule has asked for in vain.
#[derive(Clone, Copy)]
pub(crate) struct Missing {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}
