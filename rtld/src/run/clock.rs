//! The time, for the trace.
//!
//! # Safety
//! This file exists because the kernel writes the time by address.
#![allow(unsafe_code)]

use rtld::base::report::{Category, Trace};

use crate::run::cpu::calls::system_call;
use crate::run::cpu::number;

/// CLOCK_MONOTONIC in nanoseconds, if timings are traced; otherwise 0, without a system call.
pub(crate) fn clock(trace: Trace) -> u64 {
    if !trace.wants(Category::Timings) {
        return 0;
    }
    let mut time = [0u64; 2];
    const CLOCK_MONOTONIC: usize = 1;
    let place = (&raw mut time).expose_provenance();
    // SAFETY: `time` has the layout of a timespec.
    unsafe { system_call(number::CLOCK_GETTIME, [CLOCK_MONOTONIC, place, 0, 0]) };
    let [seconds, nanoseconds] = time;
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}
