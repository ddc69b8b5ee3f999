//! The gap: stack between the kernel's block and the program's copy of it, left free for libc.
//!
//! # Safety
//! This file exists because the copy is written to an address computed from the stack pointer: below everything in use,
//! where the kernel has just written as well.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};

use rtld::base::addr::{PageSize, from_usize, to_usize};
use rtld::error::{Failure, Problem};

use crate::platform::block::can_write;
use crate::run::kernel::{Block, StackLimit};

/// Largest gap in bytes. Native constructors run in it.
pub(crate) const GAP_LIMIT: u64 = 4 << 20;

/// Smallest gap in bytes. With 128 KiB glibc's ld.so no longer starts.
pub(crate) const GAP_MINIMUM: u64 = 256 << 10;

/// Smallest stack in bytes that the program keeps below the gap.
pub(crate) const PROGRAM_MINIMUM: u64 = 128 << 10;

/// Size in bytes of the pages at the lower end of the gap that are inaccessible while libc is brought in: more than the
/// frame of any function that touches its stack at least every 64 KiB.
pub(crate) const GUARD: u64 = 64 << 10;

/// The stack between the kernel's block and the program's copy of it.
#[derive(Clone, Copy)]
pub(crate) struct Gap {
    /// Lowest page of the gap, inaccessible while libc is brought in.
    pub(crate) guard: NonNull<u8>,
    /// Size of the inaccessible part in bytes.
    pub(crate) guard_size: usize,
}

impl Gap {
    /// The gap above a copy of the block that is there already.
    pub(crate) fn left(block: &Block, page: PageSize, copy: u64) -> Result<Self, Failure<'static>> {
        let end = copy.saturating_add(from_usize(block.words().len()).saturating_mul(8)).saturating_add(16);
        // The copy was put as near to it as a multiple of 16 is.
        let guard = page.ceil(end).ok_or(Problem::StackGrowth(copy))?;
        let guard = NonNull::new(ptr::with_exposed_provenance_mut(to_usize(guard)));
        Ok(Self { guard: guard.ok_or(Problem::StackGrowth(copy))?, guard_size: to_usize(GUARD) })
    }

    /// Gives the program its own copy of the block, with the gap above it. Also returns the address of the copy.
    pub(crate) fn leave(
        block: &Block,
        page: PageSize,
        limit: StackLimit,
    ) -> Result<(Self, u64), Failure<'static>> {
        let copy_size = from_usize(block.words().len()).saturating_mul(8).saturating_add(16);
        let gap = match limit {
            // `can_write` below finds out whether the stack has that much.
            StackLimit::Unknown => GAP_MINIMUM,
            StackLimit::Unlimited => GAP_LIMIT,
            StackLimit::Bytes(limit) => {
                let page = page.bytes();
                let used = block.above(limit).saturating_add(copy_size).saturating_add(GUARD);
                let fixed = used.saturating_add(PROGRAM_MINIMUM).saturating_add(page.saturating_mul(2));
                let needed = fixed.saturating_add(GAP_MINIMUM);
                if limit < needed {
                    return Err(Problem::StackTooSmall { limit, needed }.into());
                }
                GAP_LIMIT.min(limit >> 1).clamp(GAP_MINIMUM, limit.saturating_sub(fixed))
            }
        };
        let guard = page.floor(block.address().wrapping_sub(gap)).wrapping_sub(GUARD);
        let copy = guard.wrapping_sub(copy_size) & !0xf;
        // The kernel writes there first, and grows the stack for that, however far below the stack pointer the address
        // is; or it reports that it can not. A write by the process itself would not grow the stack so far before Linux
        // 4.20.
        if !can_write(copy) {
            return Err(Problem::StackGrowth(block.address().wrapping_sub(copy)).into());
        }
        // SAFETY: below everything in use on this stack, and just found to be writable.
        unsafe { block.copy_to(copy) };
        let guard = NonNull::new(ptr::with_exposed_provenance_mut(to_usize(guard)));
        let guard = guard.ok_or(Problem::StackGrowth(gap))?;
        Ok((Self { guard, guard_size: to_usize(GUARD) }, copy))
    }
}
