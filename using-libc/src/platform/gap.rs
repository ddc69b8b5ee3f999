//! No gap: the program already has a block of its own, below libc's frames, and libc is present.
#![forbid(unsafe_code)]

use rtld::base::addr::PageSize;
use rtld::error::Failure;

use crate::run::kernel::{Block, StackLimit};

/// Empty: there is nothing to undo.
#[derive(Clone, Copy)]
pub(crate) struct Gap;

impl Gap {
    /// No start is deferred here.
    pub(crate) fn left(_: &Block, _: PageSize, _: u64) -> Result<Self, Failure<'static>> {
        Ok(Self)
    }

    /// Returns the address of the block.
    pub(crate) fn leave(block: &Block, _: PageSize, _: StackLimit) -> Result<(Self, u64), Failure<'static>> {
        Ok((Self, block.address()))
    }
}
