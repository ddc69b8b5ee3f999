//! This executable's own memory, and facts about the process that differ between the two programs.
#![forbid(unsafe_code)]

use rtld::error::Problem;

/// Whether libc takes the program for the executable that was started.
pub(crate) const LIBC_KNOWS_PROGRAM: bool = false;

/// Whether another process has this one's memory. Between vfork(2) and exec a program of libc's opens nothing.
pub(crate) const fn shares_memory() -> bool {
    false
}

/// Does nothing: libc's ld.so has made this executable's RELRO read-only.
pub(crate) fn seal_own() -> Result<(), Problem<'static>> {
    Ok(())
}
