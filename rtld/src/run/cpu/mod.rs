//! What only a processor's own instructions can do, in both programs; one folder for each processor, with the same files
//! in each.

/// Called by both programs.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/calls.rs")]
pub(crate) mod calls;

/// Called by programs: exports whose caller matters.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/exports.rs")]
pub(crate) mod exports;

/// Called by programs: what native function slots and TLS descriptors point at.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/stubs.rs")]
pub(crate) mod stubs;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("this architecture has no folder here yet");
