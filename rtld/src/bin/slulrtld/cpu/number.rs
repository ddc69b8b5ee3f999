//! Numbers of the system calls that the loader alone makes, as the processor at hand has them.
#![forbid(unsafe_code)]

pub(crate) use linux_raw_sys::general::{
    __NR_execve as EXECVE, __NR_openat as OPENAT, __NR_prlimit64 as PRLIMIT64, __NR_statx as STATX,
};
