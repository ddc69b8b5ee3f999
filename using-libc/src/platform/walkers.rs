//! The functions by which native code finds objects, in both worlds. Libraries of libc's world are bound to these, because an
//! executable comes first; libc itself, and the loader, use libc's own.
//!
//! # Safety
//! This file exists because libc's functions are called by address, and these have C's names.
#![allow(unsafe_code)]

use crate::run::code;
use crate::run::open::about::{self, AddressInfo};
use crate::run::open::dlfcn;
use crate::run::open::opening::runtime_for_all;
use crate::run::open::phdr_info::Callback;
use crate::system;

/// dl_iterate_phdr(3). Before the program is loaded, which is when constructors of preloaded libraries run, libc's own.
#[unsafe(no_mangle)]
extern "C" fn dl_iterate_phdr(callback: Callback, data: usize) -> i32 {
    if runtime_for_all().is_some() {
        return dlfcn::dl_iterate_phdr(callback, data);
    }
    let Some(libcs) = system::next(c"dl_iterate_phdr") else { return 0 };
    // SAFETY: libc's `dl_iterate_phdr`.
    let libcs = unsafe { code::function::<extern "C" fn(Callback, usize) -> i32>(libcs) };
    libcs(callback, data)
}

/// dladdr(3). Before the program is loaded libc's own.
#[unsafe(no_mangle)]
extern "C" fn dladdr(address: usize, info: *mut AddressInfo) -> i32 {
    if runtime_for_all().is_some() {
        return about::slul_dladdr(address, info);
    }
    let Some(libcs) = system::next(c"dladdr") else { return 0 };
    // SAFETY: libc's `dladdr`.
    let libcs = unsafe { code::function::<extern "C" fn(usize, *mut AddressInfo) -> i32>(libcs) };
    libcs(address, info)
}
