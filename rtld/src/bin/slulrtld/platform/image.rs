//! The loader's own memory, and what depends on whose process this is.
//!
//! # Safety
//! This file exists because pages of the loader itself change their protection.
#![allow(unsafe_code)]

use rtld::elf::plan::Protection;
use rtld::error::Problem;
use rtld::os::sys;

use crate::cpu::ops::relocated_data;

/// Whether libc, once it is there, takes the program for what it was started with, and shows it: by the template.
pub(crate) const LIBC_KNOWS_PROGRAM: bool = true;

/// Whether words that refer to native functions wait for their first call.
pub(crate) const WORDS_WAIT: bool = true;

/// Makes what was relocated of the loader itself read-only.
pub(crate) fn seal_own() -> Result<(), Problem<'static>> {
    // SAFETY: whole pages, which are not written to after this.
    unsafe { sys::protect(relocated_data(), Protection::READ) }.map_err(Problem::Protect)
}
