//! No start is deferred here: libc is there.
//!
//! # Safety
//! This file exists because first-call stubs name this function.
#![allow(unsafe_code)]

use crate::run::begin::{When, begin_late};
use crate::run::kept::LeftForLate;
use crate::run::process::Process;

/// What the loader's file of this name makes use of, and nothing here.
const _: fn(LeftForLate) -> When = When::Late;
const _: fn(&Process) = begin_late;

/// Never called: the full start comes before the program.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_late_start() {
    crate::run::cpu::calls::trap();
}
