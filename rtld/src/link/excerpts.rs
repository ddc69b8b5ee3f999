//! The bytes that were read of a file which is not mapped, in one small buffer that is never cleared.
#![forbid(unsafe_code)]

use core::ffi::CStr;
use core::mem::{MaybeUninit, take};

use crate::base::addr::{FileOffset, from_usize, to_usize};
use crate::error::Errno;
use crate::os::seam::Files;

/// Largest number of reads of a file.
const MOST: usize = 4;

/// Size in bytes of the first read: headers, notes, DT_GNU_HASH, and for half of all libraries the dynamic strings.
const HEAD: usize = 2048;

/// Smallest size in bytes of the other reads. It contains the names of all needs for nearly all libraries.
pub(crate) const LEAST: usize = 512;

/// Size in bytes of all reads together: HEAD, the longest dynamic section, and the names of most libraries.
const ROOM: usize = 3584;

/// Room for the bytes, not initialised.
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
    /// The bytes from `offset` to the end of the excerpt.
    fn from(&self, offset: u64) -> Option<&'b [u8]> {
        self.bytes.get(to_usize(offset.checked_sub(self.offset)?)..)
    }
}

/// The bytes that were read of a file, in one buffer.
pub(crate) struct Excerpts<'b> {
    all: [Excerpt<'b>; MOST],
    count: usize,
    free: &'b mut [MaybeUninit<u8>],
}

impl<'b> Excerpts<'b> {
    /// No bytes yet; `room` is for those to come.
    pub(crate) fn new(room: &'b mut [MaybeUninit<u8>]) -> Self {
        Self { all: [Excerpt::default(); MOST], count: 0, free: room }
    }

    /// Reads the start of a file. Not beyond the end of a small one: a second read would be needed to learn of the end.
    ///
    /// # Errors
    /// The error number of read(2).
    pub(crate) fn head<F: Files>(&mut self, sys: &F, file: &F::File, size: u64) -> Result<&'b [u8], Errno> {
        self.read(sys, file, 0, to_usize(size.min(from_usize(HEAD))))
    }

    /// Reads `size` bytes, or as many as exist and fit.
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

    /// Reads missing bytes. `false` if they do not fit, or the number of reads is exhausted.
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

    /// The string at `offset` with its NUL, if it was read and takes at most `limit` bytes.
    pub(crate) fn string(&self, offset: u64, limit: usize) -> Option<&'b CStr> {
        self.all.iter().find_map(|excerpt| {
            let bytes = excerpt.from(offset)?;
            CStr::from_bytes_until_nul(bytes.get(..limit.min(bytes.len()))?).ok()
        })
    }
}

/// Bytes of the file for which a rule has asked and that were not read.
#[derive(Clone, Copy)]
pub(crate) struct Missing {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}
