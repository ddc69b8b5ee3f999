//! What only a processor's own instructions can do; one folder for each processor, with the same files in each.

/// Called by the loader.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/ops.rs")]
pub(crate) mod ops;

/// Called by programs, and by the compiler: `memcpy` and its relatives.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/mem/mod.rs")]
mod mem;

/// Entered by the kernel.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/start.rs")]
mod start;

/// Entered by ld.so.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/template_entry.rs")]
pub(crate) mod template_entry;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("this architecture has no folder here yet");
