//! First-call stubs: native function slots point at them until libc is present.
//!
//! # Safety
//! This file exists because a stub is entered with another function's arguments in its registers, and must preserve
//! them. It is all assembly; comments say what it relies on.
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::mem::offset_of;

use linux_raw_sys::general;
use rtld::link::reloc::{TlsDescArg, WaitingSlot};

use crate::run::cpu::stub_layout::STUBS;

use super::frames::{frame_begins, frame_ends, frame_from, frame_size};

/// Vector state that can carry arguments: x87, SSE, AVX, and AVX-512's three (Intel SDM, XCR0).
const STATE_MASK: u32 = 0xe7;

/// Bytes for that state, header and alignment included. In the standard format its last part ends at 2 688 in every processor
/// that has it (CPUID leaf 13).
const STATE_SIZE: u32 = 8 << 10;

/// Size in bytes of the loader's own stack: a full start takes less than 64 KiB.
const OWN_STACK: u32 = 256 << 10;

// A stub pushes its number within its group; the end of the group turns that into the import's number in r11,
// which no calling convention uses for arguments, and jumps to the common part. A stub has four bytes: a short
// push and a short jump. The common part jumps to the target if the import is bound. If not, it saves every
// register that can carry an argument, at full width: the general ones with rax (al counts vector arguments of
// variadic calls) and r10 (static chain), and the vector state with MXCSR. It asks for the target, restores all
// registers, and jumps to the target with the stack as it was at the call.
//
// All but the general registers is saved on a stack of the loader's own, to which it changes at once: the caller's may be an
// alternate signal stack, or a small thread's. Only without memory for one the caller's is used.
//
// XSAVE is used where the kernel has enabled it, which CPUID leaf 1 shows (OSXSAVE).
global_asm!(
    ".pushsection .text.zz_slul_stubs, \"ax\", @progbits",
    ".balign 16",
    ".globl slul_stubs",
    ".hidden slul_stubs",
    ".type slul_stubs, @function",
    "slul_stubs:",
    ".set slul_group, 0",
    ".rept {groups}",
    ".set slul_number, 0",
    ".rept {per_group}",
    "push slul_number",
    "jmp 2f",
    ".set slul_number, slul_number + 1",
    ".endr",
    "2:",
    "pop r11",
    "or r11, slul_group",
    "jmp slul_stub_common",
    ".balign 16",
    ".set slul_group, slul_group + {per_group}",
    ".endr",
    ".size slul_stubs, . - slul_stubs",
    ".globl slul_stub_common",
    ".hidden slul_stub_common",
    ".type slul_stub_common, @function",
    "slul_stub_common:",
    frame_begins!(),
    "push rax",
    "60:",
    "mov rax, [rip + {targets}]",
    "test rax, rax",
    "jz 2f",
    "mov rax, [rax + 8*r11]",
    "test rax, rax",
    "jz 2f",
    "mov r11, rax",
    "pop rax",
    "61:",
    "jmp r11",
    "2:",
    "pop rax",
    "slul_ask:",
    "push rbp",
    "63:",
    "mov rbp, rsp",
    "64:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r12",
    "push r13",
    "push r11",
    "mov r12, rsp",
    "xor edi, edi",
    "mov esi, {own_stack}",
    "mov edx, {read_write}",
    "mov r10d, {private}",
    "mov r8, -1",
    "xor r9d, r9d",
    "mov eax, {mmap}",
    "syscall",
    "xor r13d, r13d",
    "cmp rax, -4096",
    "ja 7f",
    "mov r13, rax",
    "lea rsp, [rax + {own_stack}]",
    "7:",
    "sub rsp, {state_size}",
    "and rsp, -64",
    "mov eax, 1",
    "xor ecx, ecx",
    "cpuid",
    "mov ebx, ecx",
    "and ebx, 0x8000000", // OSXSAVE, kept in rbx
    "jz 3f",
    // The header must be zero (SDM, XRSTOR); XSAVE writes the rest, or XRSTOR does not read it.
    "xor eax, eax",
    "lea rdi, [rsp + 512]",
    "mov ecx, 8",
    "rep stosq",
    "mov eax, {mask}",
    "xor edx, edx",
    "xsave64 [rsp]",
    "jmp 4f",
    "3:",
    "fxsave64 [rsp]",
    "4:",
    // Of a process whose start was deferred, the full start comes first.
    "cmp dword ptr [rip + {started}], {done}",
    "je 7f",
    "call {late}",
    "7:",
    "mov rdi, [r12]",
    // rbp was pushed right below the return address.
    "lea rsi, [rbp + 8]",
    "call {asked}",
    "mov [r12], rax",
    "test ebx, ebx",
    "jz 5f",
    "mov eax, {mask}",
    "xor edx, edx",
    "xrstor64 [rsp]",
    "jmp 6f",
    "5:",
    "fxrstor64 [rsp]",
    "6:",
    "mov rsp, r12",
    "test r13, r13",
    "jz 7f",
    "mov rdi, r13",
    "mov esi, {own_stack}",
    "mov eax, {munmap}",
    "syscall",
    "7:",
    "pop r11",
    "pop r13",
    "pop r12",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "pop rbp",
    "65:",
    "jmp r11",
    frame_ends!(
        frame_from!("88b", "60b"),
        frame_size!("16"),
        frame_from!("60b", "61b"),
        frame_size!("8"),
        frame_from!("61b", "2b"),
        frame_size!("16"),
        frame_from!("2b", "slul_ask"),
        frame_size!("8"),
        frame_from!("slul_ask", "63b"),
        frame_size!("16"),
        // DW_CFA_offset: rbp is at the CFA - 16.
        ".byte 0x86, 2",
        frame_from!("63b", "64b"),
        // DW_CFA_def_cfa_register: the CFA goes by rbp.
        ".byte 0x0d, 6",
        frame_from!("64b", "65b"),
        frame_size!("8"),
        // DW_CFA_restore of rbp.
        ".byte 0xc6",
    ),
    ".size slul_stub_common, . - slul_stub_common",
    // Function of a TLS descriptor with a `TlsDescArg`: the descriptor's address is in rax, the variable's offset from the
    // thread pointer is returned there, and no other register changes. A thread without the block gets it first, and this
    // is retried.
    ".globl slul_described",
    ".hidden slul_described",
    ".type slul_described, @function",
    "slul_described:",
    "push rax",
    "push rcx",
    "push rdx",
    "mov rdx, [rax + 8]",
    // The thread's table, and the entry in it, if it has so many.
    "mov rcx, fs:[0]",
    "add rcx, [rip + {state}]",
    "mov rcx, [rcx]",
    "test rcx, rcx",
    "jz 2f",
    "mov rax, [rdx + {entry}]",
    "cmp rax, [rcx]",
    "jae 2f",
    "add rcx, rax",
    "mov rax, [rdx + {key}]",
    "cmp rax, [rcx]",
    "jne 2f",
    "mov rax, [rcx + 8]",
    "add rax, [rdx + {offset}]",
    "sub rax, fs:[0]",
    "pop rdx",
    "pop rcx",
    "lea rsp, [rsp + 8]",
    "ret",
    "2:",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "push r11",
    "mov r11, [rax + 8]",
    "bts r11, 63",
    "jmp slul_ask",
    ".globl slul_described_again",
    ".hidden slul_described_again",
    "slul_described_again:",
    "pop r11",
    "jmp slul_described",
    ".size slul_described, . - slul_described",
    // Where a PLT goes whose slot waits: the number of the relocation is on the stack, and above it the word for the module.
    ".globl slul_waiting",
    ".hidden slul_waiting",
    ".type slul_waiting, @function",
    "slul_waiting:",
    "pop r11",
    "or r11, [rsp]",
    "lea rsp, [rsp + 8]",
    "jmp slul_ask",
    ".size slul_waiting, . - slul_waiting",
    ".popsection",
    groups = const STUBS.groups,
    per_group = const STUBS.per_group,
    mask = const STATE_MASK,
    targets = sym crate::run::native::binding::TARGETS,
    state = sym crate::run::thread::STATE_DISTANCE,
    entry = const offset_of!(TlsDescArg<'static>, entry),
    key = const offset_of!(TlsDescArg<'static>, key),
    offset = const offset_of!(TlsDescArg<'static>, offset),
    started = sym crate::run::process::STARTED,
    done = const crate::run::process::DONE,
    late = sym crate::early::late::slul_late_start,
    own_stack = const OWN_STACK,
    state_size = const STATE_SIZE,
    mmap = const general::__NR_mmap,
    munmap = const general::__NR_munmap,
    read_write = const general::PROT_READ | general::PROT_WRITE,
    private = const general::MAP_PRIVATE | general::MAP_ANONYMOUS | general::MAP_NORESERVE | general::MAP_STACK,
    asked = sym asked,
);

unsafe extern "C" {
    safe static slul_described_again: u8;
}

/// The address at which a stub continues. Given the number of an import: its function; given a [`WaitingSlot`]: likewise.
/// Given the address of a `TlsDescArg` with bit 63 set: the code that retries the descriptor. `stack` is the stack pointer at
/// the call.
extern "C" fn asked(what: u64, stack: u64) -> usize {
    const DESCRIBED: u64 = 1 << 63;
    if let Some(slot) = WaitingSlot::of(what).filter(|_| what & DESCRIBED == 0) {
        return crate::run::open::waiting::first_call(slot);
    }
    if what & DESCRIBED == 0 {
        // "The Stack Frame": its end is a multiple of 16 before the return address is pushed.
        let misaligned = stack.wrapping_add(8) & 15;
        return crate::run::first_call::first_call(u32::try_from(what).unwrap_or(u32::MAX), misaligned);
    }
    crate::run::tls::make_described_ready(what & !DESCRIBED);
    (&raw const slul_described_again).expose_provenance()
}
