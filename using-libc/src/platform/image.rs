//! This executable's own memory, and what depends on whose process this is.
#![forbid(unsafe_code)]

use rtld::error::Problem;

/// Whether libc takes the program for what it was started with.
pub(crate) const LIBC_KNOWS_PROGRAM: bool = false;

/// Whether words that refer to native functions wait for their first call: no, libc is there.
pub(crate) const WORDS_WAIT: bool = false;

/// What was relocated of this executable libc's ld.so has made read-only.
pub(crate) fn seal_own() -> Result<(), Problem<'static>> {
    Ok(())
}
