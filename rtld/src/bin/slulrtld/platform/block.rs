//! The uses of the kernel's block that only the loader has: the block becomes libc's, and the program gets a copy.
//!
//! # Safety
//! This file exists because the block is given away and copied by address, and because the kernel is asked to write to
//! an address.
#![allow(unsafe_code)]

use core::{ptr, slice};

use rtld::base::addr::{from_usize, to_usize};
use rtld::error::{Errno, Failure, Problem};
use rtld::start::handoff::Layout;

use crate::cpu::number::OPENAT;
use crate::run::cpu::calls::system_call;
use crate::run::cpu::number;
use crate::run::kernel::{Block, string};

impl Block {
    /// Makes the block libc's. `edit` gets the words and the layout, for the last time.
    ///
    /// # Safety
    /// Called once, by the thread that brings libc in. The program does not use the block: it has a copy.
    pub(crate) unsafe fn give_away<T>(&self, edit: impl FnOnce(&mut [u64], Layout) -> T) -> T {
        // SAFETY: by the caller; nothing else borrows the words now.
        let words = unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.end) };
        edit(words, self.layout)
    }

    /// Writes a word of the block after [`Block::give_away`].
    ///
    /// # Safety
    /// Called by the thread that gave the block away, while ld.so waits for it. `index` is that of a word of the block.
    pub(crate) unsafe fn restore(&self, index: usize, value: u64) {
        // SAFETY: by the caller.
        unsafe { self.start.add(index).write(value) };
    }

    /// Bytes of stack above the block's first word: the block, and the strings up to the end of AT_EXECFN's, which the
    /// kernel puts at the very top. Without AT_EXECFN, the most that execve(2) permits: a quarter of `limit`.
    pub(crate) fn above(&self, limit: u64) -> u64 {
        let end = self.execfn.map(|address| {
            // SAFETY: a string of the block.
            let path = unsafe { string(address) };
            address.saturating_add(from_usize(path.len())).saturating_add(16)
        });
        end.map_or(limit >> 2, |end| end.saturating_sub(self.address()))
    }

    /// Copies the block to `place`.
    ///
    /// # Safety
    /// `place` is a multiple of eight, and has unused room for the block.
    pub(crate) unsafe fn copy_to(&self, place: u64) {
        let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place));
        // SAFETY: by the caller.
        unsafe { place.copy_from_nonoverlapping(self.start.as_ptr(), self.layout.end) };
    }
}

/// Whether the kernel can write at `address`, which is the process's own and unused. The kernel stores a time there.
pub(crate) fn can_write(address: u64) -> bool {
    const CLOCK_MONOTONIC: usize = 1;
    // SAFETY: for an address that it can not write to, the kernel answers EFAULT; the memory there is unused.
    unsafe { system_call(number::CLOCK_GETTIME, [CLOCK_MONOTONIC, to_usize(address), 0, 0]) == 0 }
}

/// If `secure`, opens /dev/null for each of standard input, output and error that is closed, so that no file of the
/// program gets that number.
///
/// # Errors
/// It can not be opened.
pub(crate) fn open_standard(secure: bool) -> Result<(), Failure<'static>> {
    use linux_raw_sys::general::{AT_FDCWD, F_GETFD, O_RDWR};
    let standard = if secure { 0..3 } else { 0..0 };
    for descriptor in standard {
        // SAFETY: F_GETFD only reads a flag.
        let is_open = unsafe { system_call(number::FCNTL, [descriptor, F_GETFD as usize, 0, 0]) } >= 0;
        if is_open {
            continue;
        }
        let path = c"/dev/null".as_ptr().expose_provenance();
        // SAFETY: a path. The file gets the lowest free number, which is this one.
        let result = unsafe { system_call(OPENAT, [AT_FDCWD as usize, path, O_RDWR as usize, 0]) };
        if result < 0 {
            return Err(Problem::Open(Errno(i32::try_from(result.wrapping_neg()).unwrap_or(0))).into());
        }
    }
    Ok(())
}
