//! x86_64: exports that need their caller's address.
//!
//! # Safety
//! This file exists because the caller's address is read from the stack, where the call instruction has put it.
#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::ffi::c_char;

/// dlopen(3), for the caller whose address is on the stack.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn slul_dlopen(name: *const c_char, flags: i32) -> usize {
    naked_asm!("mov rdx, [rsp]", "jmp {open}", open = sym crate::run::open::dlfcn::open)
}

/// dlsym(3), for the caller whose address is on the stack.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn slul_dlsym(handle: usize, name: *const c_char) -> usize {
    naked_asm!("mov rdx, [rsp]", "jmp {symbol}", symbol = sym crate::run::open::dlfcn::symbol)
}
