//! The data that callbacks of `dl_iterate_phdr` get.
#![forbid(unsafe_code)]

use core::ffi::c_char;

/// `struct dl_phdr_info` of <link.h>.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PhdrInfo {
    pub(crate) bias: usize,
    pub(crate) name: *const c_char,
    pub(crate) phdrs: usize,
    pub(crate) count: u16,
    pub(crate) adds: u64,
    pub(crate) subs: u64,
    pub(crate) tls_id: usize,
    pub(crate) tls_block: usize,
}

impl PhdrInfo {
    /// Counts what another world has added and removed, too.
    pub(crate) const fn count_also(&mut self, (adds, subs): (u64, u64)) {
        self.adds = self.adds.wrapping_add(adds);
        self.subs = self.subs.wrapping_add(subs);
    }
}

/// A callback. Its arguments: the information, its size in bytes, and the data of the caller of `dl_iterate_phdr`.
pub(crate) type Callback = extern "C" fn(*mut PhdrInfo, usize, usize) -> i32;
