//! No gap: the program has a block of its own already, below libc's frames, and libc is there.
#![forbid(unsafe_code)]

use rtld::base::addr::PageSize;
use rtld::error::Failure;

use crate::run::kernel::{Block, StackLimit};

/// Nothing that would have to be remembered.
#[derive(Clone, Copy)]
pub(crate) struct Gap;

impl Gap {
    /// Answers the address of the block.
    pub(crate) fn leave(block: &Block, _: PageSize, _: StackLimit) -> Result<(Self, u64), Failure<'static>> {
        Ok((Self, block.address()))
    }
}
