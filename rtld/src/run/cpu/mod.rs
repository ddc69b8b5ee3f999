//! What only a processor's own instructions can do, in both programs.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod arch;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("no run/cpu for this architecture yet");

pub(crate) use arch::{common, stubs};
