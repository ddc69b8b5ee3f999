//! x86_64: exports that need their caller's address.
//!
//! # Safety
//! This file exists because the caller's address is read from the stack, where the call instruction has put it.
#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::ffi::c_char;

use super::frames::{frame_begins, frame_ends, frame_from, frame_size};

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
    naked_asm!("xor edx, edx", "mov rcx, [rsp]", "jmp {symbol}", symbol = sym crate::run::open::dlfcn::symbol)
}

/// dlvsym(3), for the caller whose address is on the stack.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn slul_dlvsym(handle: usize, name: *const c_char, version: *const c_char) -> usize {
    naked_asm!("mov rcx, [rsp]", "jmp {symbol}", symbol = sym crate::run::open::dlfcn::symbol)
}

/// Runs the finalisers and ends the process, through libc's `exit` once libc is there: as if the caller had called that, so
/// that nothing of the loader's is in the backtraces of what libc runs then.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn slul_exit(status: i32) -> ! {
    naked_asm!(
        frame_begins!(),
        "push rdi",
        "2:",
        "call {way_out}",
        "pop rdi",
        "3:",
        "test rax, rax",
        "jz 4f",
        "jmp rax",
        "4:",
        "mov eax, {exit_group}",
        "syscall",
        "ud2",
        frame_ends!(frame_from!("88b", "2b"), frame_size!("16"), frame_from!("2b", "3b"), frame_size!("8")),
        way_out = sym crate::run::finish::way_out,
        exit_group = const crate::run::cpu::number::EXIT_GROUP,
    )
}
