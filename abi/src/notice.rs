//! How a process says that libc was brought into it: names for lists of mappings, core files, debuggers and backtraces.
//! Whoever looks at a fault is to know that somebody else than the kernel has started libc.

use core::ffi::CStr;

/// A page of this name is mapped once libc is there. Soname of the [template](crate::paths::OfArch::template), too.
pub const NOTICE: &CStr = c"__notice_libc_bogomapped_by_slul.so";

/// The function that backtraces end in then: of the template's file, or else of the loader.
pub const FRAME: &str = "__notice__libc_bogomapped_by_slul";
