//! What only the loader does with the kernel's block: it becomes libc's, and the program gets a copy.
//!
//! # Safety
//! This file exists because the block is given away and copied by address, and because the kernel is asked to write to
//! an address.
#![allow(unsafe_code)]

use core::{ptr, slice};

use rtld::base::addr::{from_usize, to_usize};
use rtld::error::{Errno, Failure, Problem};
use rtld::start::handoff::Layout;

use crate::run::cpu::calls::system_call;
use crate::run::kernel::{Block, string};

impl Block {
    /// Makes it libc's: `edit` gets its words and its layout, for the last time.
    ///
    /// # Safety
    /// Called once, by whoever brings libc in. The program does not use the block: it has a copy of its own.
    pub(crate) unsafe fn give_away<T>(&self, edit: impl FnOnce(&mut [u64], Layout) -> T) -> T {
        // SAFETY: by the caller, and nothing here borrows the words meanwhile.
        let words = unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.end) };
        edit(words, self.layout)
    }

    /// Writes a word of the block that was given away.
    ///
    /// # Safety
    /// As [`Block::give_away`], by the same thread; ld.so does not run meanwhile. `index` is one of the block's words.
    pub(crate) unsafe fn restore(&self, index: usize, value: u64) {
        // SAFETY: by the caller.
        unsafe { self.start.add(index).write(value) };
    }

    /// Bytes of stack above the block's first word: the block, and the strings up to the end of AT_EXECFN's, which
    /// the kernel puts at the very top. Without AT_EXECFN, what execve(2) allows them at most.
    pub(crate) fn above(&self, limit: u64) -> u64 {
        let end = self.execfn.map(|address| {
            // SAFETY: a string of the block.
            let path = unsafe { string(address) };
            address.saturating_add(from_usize(path.len())).saturating_add(16)
        });
        end.map_or(limit >> 2, |end| end.saturating_sub(self.address()))
    }

    /// A copy of it at `place`.
    ///
    /// # Safety
    /// `place` is a multiple of eight, with room for the block, unused.
    pub(crate) unsafe fn copy_to(&self, place: u64) {
        let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place));
        // SAFETY: by the caller.
        unsafe { place.copy_from_nonoverlapping(self.start.as_ptr(), self.layout.end) };
    }
}

/// Whether the kernel can write a few bytes at `address`, which is ours and not yet in use. It stores a time there.
pub(crate) fn can_write(address: u64) -> bool {
    const CLOCK_MONOTONIC: usize = 1;
    let number = linux_raw_sys::general::__NR_clock_gettime;
    // SAFETY: an address that the kernel can not write to gives EFAULT, and nothing of ours is there yet.
    unsafe { system_call(number, [CLOCK_MONOTONIC, to_usize(address), 0, 0]) == 0 }
}

/// If `secure`, opens what is closed of standard input, output and error on /dev/null, lest a file that the program opens
/// gets such a number.
pub(crate) fn open_standard(secure: bool) -> Result<(), Failure<'static>> {
    use linux_raw_sys::general::{__NR_fcntl, __NR_open, F_GETFD, O_RDWR};
    let standard = if secure { 0..3 } else { 0..0 };
    for number in standard {
        // SAFETY: only asks.
        let is_open = unsafe { system_call(__NR_fcntl, [number, F_GETFD as usize, 0, 0]) } >= 0;
        let path = c"/dev/null".as_ptr().expose_provenance();
        // SAFETY: a string. The file gets the lowest number that is free, which is this one.
        if !is_open && unsafe { system_call(__NR_open, [path, O_RDWR as usize, 0, 0]) } < 0 {
            return Err(Problem::Open(Errno::ENOENT).into());
        }
    }
    Ok(())
}
