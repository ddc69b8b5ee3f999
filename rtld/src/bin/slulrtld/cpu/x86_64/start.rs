//! x86_64: the entry for the kernel.
//!
//! # Safety
//! This file exists because the kernel enters it, with a block at the stack pointer and nothing else. Comments at each
//! piece say what may be relied on there.
#![allow(unsafe_code)]

use core::arch::naked_asm;

use crate::early::deferred::Deferred;
use crate::run::cpu::frames::{frame_begins, frame_ends, frame_from, frame_outermost, frame_size};

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
        "sub rsp, {room}", // for the answer
        "mov rdi, rsp",
        "lea rsi, [rsp + {room}]",
        "lea rdx, [rip + _start]",
        "lea rcx, [rip + __ehdr_start]",
        "call {deferred}",
        "mov rax, [rsp]",
        "mov rdx, [rsp + 8]",
        "mov r9, [rsp + 16]",
        "mov r10, [rsp + 24]",
        "mov r12, [rsp + 32]",
        "add rsp, {room}",
        "test rax, rax",
        "jnz {enter_deferred}",
        "test rdx, rdx",
        "jnz 4f",
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
        "call {relocate}",
        "mov rdi, rsp",
        "lea rsi, [rip + _start]",
        "call {main}",
        "ud2",
        "4:", // The program is ready, but for its RELRO, which can not be sealed.
        "lea rdi, [rip + __ehdr_start]",
        "call {relocate}",
        "mov rdi, rsp",
        "call {unsealed}",
        "ud2",
        frame_ends!(frame_outermost!()),
        plain = sym crate::early::plain::slul_plain_start,
        room = const size_of::<Deferred>().next_multiple_of(16),
        deferred = sym crate::early::deferred::slul_deferred_start,
        enter_deferred = sym slul_enter_deferred,
        unsealed = sym crate::slul_unsealed,
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

/// Enters the program at rax, whose full start is deferred, on its own copy of the block, which is to be at rdx; one more if
/// the entry is a C function. The kernel's block is at rsp, with r9 bytes; the string at r10, of r12 bytes, is to follow the copy.
/// What is left for the first native call is right below the block already, but for its last two words.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_enter_deferred() -> ! {
    naked_asm!(
        frame_begins!(),
        "mov r8, rax",
        "mov eax, {getpid}",
        "syscall",
        "mov [rsp - 16], rax",
        "mov rdi, rdx",
        "and rdi, -2",
        "mov [rsp - 8], rdi",
        "mov rsi, rsp",
        "mov rcx, r9",
        "shr rcx, 3",
        "mov rsp, rdi",
        "rep movsq",
        "mov rsi, r10",
        "mov rcx, r12",
        "rep movsb",
        "test dl, 1",
        "jnz 2f",
        "lea rdx, [rip + {finaliser}]",
        "jmp r8",
        "2:",
        "mov rax, r8",
        "call {call}",
        "ud2",
        // Nothing is behind it on the program's stack: backtraces end here, or where `leave_notice` says.
        frame_ends!(frame_outermost!()),
        getpid = const linux_raw_sys::general::__NR_getpid,
        finaliser = sym slul_deferred_finaliser,
        call = sym slul_call_deferred,
    )
}

/// Calls the C entry in rax, of a program whose block is right above the return address, and ends the process.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_call_deferred() -> ! {
    naked_asm!(
        frame_begins!(),
        "mov rdi, [rsp + 8]",
        "lea rsi, [rsp + 16]",
        "lea rdx, [rsi + 8*rdi + 8]",
        "mov rcx, rdx",
        "2:",
        "add rcx, 8",
        "cmp qword ptr [rcx - 8], 0",
        "jne 2b",
        "sub rsp, 8",
        "60:",
        "call rax",
        "mov edi, eax",
        "cmp dword ptr [rip + {started}], {done}",
        "je 3f",
        "mov eax, 231", // exit_group
        "syscall",
        "3:",
        "call {exit}",
        "ud2",
        frame_ends!(frame_from!("88b", "60b"), frame_size!("16")),
        started = sym crate::run::process::STARTED,
        done = const crate::run::process::DONE,
        exit = sym crate::run::cpu::exports::slul_exit,
    )
}

/// What a program that is entered as by the kernel gets in rdx: nothing was initialised, so as long as the full start has
/// not been made there is nothing to finalise.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_deferred_finaliser() {
    naked_asm!(
        "cmp dword ptr [rip + {started}], {done}",
        "je {finalise}",
        "ret",
        started = sym crate::run::process::STARTED,
        done = const crate::run::process::DONE,
        finalise = sym crate::run::finish::finalise,
    )
}
