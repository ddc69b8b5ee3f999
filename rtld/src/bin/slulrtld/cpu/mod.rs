//! Code that needs a processor's own instructions, in the loader only. One folder for each processor, with the same
//! files in each.

/// Functions that the loader calls.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/ops.rs")]
pub(crate) mod ops;

/// Numbers of the loader's own system calls.
pub(crate) mod number;

/// `memcpy` and its relatives, which programs and the compiler call.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/mem/mod.rs")]
mod mem;

/// The entry for the kernel.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/start.rs")]
mod start;

/// The entry for ld.so.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/template_entry.rs")]
pub(crate) mod template_entry;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("this architecture has no folder here yet");
