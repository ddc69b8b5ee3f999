//! x86_64: the entry for the kernel.
//!
//! # Safety
//! This file exists because the kernel enters it, with a block at the stack pointer and nothing else. Comments at each
//! piece say what may be relied on there.
#![allow(unsafe_code)]

use core::arch::naked_asm;

use crate::run::cpu::frames::{frame_begins, frame_ends, frame_outermost};

/// The loader's entry. The block is at the stack pointer, which is a multiple of 16.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        frame_begins!(),
        "xor ebp, ebp",
        "mov rdi, rsp",
        "lea rsi, [rip + _start]",
        "call {plain}",
        "test rax, rax",
        "jnz 3f",
        "mov rdi, rsp",
        "lea rsi, [rip + _start]",
        "lea rdx, [rip + __ehdr_start]",
        "call {handed}",
        "test rax, rax",
        "jz 2f",
        "3:",
        "test rdx, rdx",
        "jnz {call}",
        // rdx is 0: no finaliser.
        "jmp rax",
        "2:",
        "lea rdi, [rip + __ehdr_start]",
        "lea rsi, [rip + _DYNAMIC]",
        "lea rdx, [rip + slul_end]",
        "call {relocate}",
        "mov rdi, rsp",
        "lea rsi, [rip + _start]",
        "call {main}",
        "ud2",
        frame_ends!(frame_outermost!()),
        plain = sym crate::early::plain::slul_plain_start,
        handed = sym crate::early::handed::slul_plain_handed,
        call = sym slul_plain_call,
        relocate = sym crate::early::bootstrap::slul_relocate_self,
        main = sym crate::slul_main,
    )
}

/// Calls the C entry of a program that needs nothing else. The entry is in rax, the address of auxv in rdx, and the
/// block at rsp.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_plain_call() -> ! {
    naked_asm!(
        frame_begins!(),
        "mov rcx, rdx",
        "mov rdi, [rsp]",
        "lea rsi, [rsp + 8]",
        "lea rdx, [rsi + 8*rdi + 8]",
        "call rax",
        "mov edi, eax",
        "mov eax, 231", // exit_group
        "syscall",
        "ud2",
        frame_ends!(frame_outermost!()),
    )
}
