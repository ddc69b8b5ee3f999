//! The program's copy of the kernel's block, and the standard descriptors of a secure process.
//!
//! # Safety
//! This file exists because descriptors are opened by system calls that take addresses.
#![allow(unsafe_code)]

use rtld::base::addr::{PageSize, RuntimeAddr, from_usize, to_usize};
use rtld::error::{Errno, Failure, Problem};

use crate::cpu::number::OPENAT;
use crate::run::cpu::calls::system_call;
use crate::run::cpu::number;
use crate::run::kernel::{Block, can_read};

/// Bytes between the block and the program's copy of it, for what a deferred start leaves there (`early::deferred::Left`).
pub(crate) const BETWEEN: usize = 48;

/// The address of the program's copy, right below the block: both are multiples of 16, and so the program's stack begins
/// wherever within its page the kernel has put it.
#[inline(always)]
pub(crate) const fn place_below(block: usize, size: usize) -> usize {
    block.wrapping_sub(size).wrapping_sub(BETWEEN) & !0xf
}

/// The address at which the program is to have its own copy of the block. The kernel's stays as it is: what libc is to find
/// of it, whenever it comes, is what was there at the start.
///
/// # Errors
/// The stack can not grow so far.
pub(crate) fn place_of_copy(block: &Block, page: PageSize) -> Result<u64, Failure<'static>> {
    let size = block.words().len().saturating_mul(8);
    let copy = from_usize(place_below(to_usize(block.address()), size));
    // A small one is where the loader has been by now. For a large one the kernel reads there first, and grows the stack for that,
    // however far below the stack pointer the address is; or it reports that it can not. An access of the process itself would
    // not grow the stack so far before Linux 4.20.
    const SMALL: usize = 512;
    if block.words().len() > SMALL && !can_read(RuntimeAddr(copy), 1, page) {
        return Err(Problem::StackGrowth(block.address().wrapping_sub(copy)).into());
    }
    Ok(copy)
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
