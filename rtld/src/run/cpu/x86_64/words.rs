//! x86_64: code that relocated words refer to, by its address. What it is is in `stubs.rs` and `calls.rs`.
//!
//! # Safety
//! This file exists because code is referred to that only the assembler knows.
#![allow(unsafe_code)]

use rtld::base::addr::RuntimeAddr;
use rtld::link::reloc::{LoaderCode, Stubs};

use crate::run::cpu::calls::{tls_descriptor, tls_undefined};
use crate::run::cpu::stub_layout::STUBS;

unsafe extern "C" {
    safe static slul_stubs: u8;
    safe static slul_described: u8;
    safe static slul_waiting: u8;
}

/// Code that relocated words may refer to; `waits` says whether functions that nobody defines are left to their first call.
pub(crate) fn code(waits: bool) -> LoaderCode {
    LoaderCode {
        stubs: Stubs { start: RuntimeAddr::of(&raw const slul_stubs), layout: STUBS },
        tls_descriptor: RuntimeAddr::of(tls_descriptor as *const ()),
        tls_undefined: RuntimeAddr::of(tls_undefined as *const ()),
        waiting: waits.then(|| RuntimeAddr::of(&raw const slul_waiting)),
        tls_described: RuntimeAddr::of(&raw const slul_described),
    }
}
