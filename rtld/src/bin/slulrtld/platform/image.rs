//! The loader's own memory, and facts about the process that differ between the two programs.
//!
//! # Safety
//! This file exists because pages of the loader itself change their protection.
#![allow(unsafe_code)]

use rtld::elf::plan::Protection;
use rtld::error::Problem;
use rtld::os::sys;

use crate::cpu::ops::relocated_data;
use crate::early::sharing::slul_shares_memory;

/// Whether libc takes the program for the executable that was started, and shows it in dl_iterate_phdr(3): it does, by
/// the template.
pub(crate) const LIBC_KNOWS_PROGRAM: bool = true;

/// Whether another process has this one's memory ([`slul_shares_memory`]).
pub(crate) fn shares_memory() -> bool {
    slul_shares_memory(0)
}

/// Makes the relocated data of the loader itself read-only.
pub(crate) fn seal_own() -> Result<(), Problem<'static>> {
    // SAFETY: whole pages, which are not written to after this.
    unsafe { sys::protect(relocated_data(), Protection::READ) }.map_err(Problem::Protect)
}
