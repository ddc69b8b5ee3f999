//! Nothing is kept for libc, which was there before the program.
#![forbid(unsafe_code)]

use rtld::error::Failure;

use crate::run::kept::{KeptForLibc, LeftForLate};
use crate::run::process::Process;

/// What the loader's file of this name makes use of, and nothing here.
const _: fn(&KeptForLibc) -> bool = |kept| kept.at_once && kept.variables.is_none() && kept.root.is_none();
const _: fn(&LeftForLate) -> u64 = |late| late.root.inode ^ late.root.device ^ late.root.mount;

/// Nothing.
pub(crate) const fn keep(_: &mut Process) -> Result<(), Failure<'static>> {
    Ok(())
}
