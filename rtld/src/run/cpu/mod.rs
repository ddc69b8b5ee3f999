//! Code that needs a processor's own instructions, in both programs. One folder for each processor, with the same files
//! in each.

/// Functions that both programs call.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/calls.rs")]
pub(crate) mod calls;

/// Numbers of system calls.
pub(crate) mod number;

/// Exports that need their caller's address.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/exports.rs")]
pub(crate) mod exports;

/// Unwind entries of assembly.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/frames.rs")]
pub(crate) mod frames;

/// Code to which native function slots and TLS descriptors point.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/stubs.rs")]
pub(crate) mod stubs;

/// Sizes of first-call stubs.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/stub_layout.rs")]
pub(crate) mod stub_layout;

/// What relocated words refer to.
#[cfg_attr(target_arch = "x86_64", path = "x86_64/words.rs")]
pub(crate) mod words;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("this architecture has no folder here yet");
