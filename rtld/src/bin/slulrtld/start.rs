//! What only a processor's own instructions can do; one file for each, with the same names in each.

#[cfg(target_arch = "x86_64")]
#[path = "start/x86_64.rs"]
mod cpu;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("no start for this architecture yet");

pub(crate) use cpu::*;
