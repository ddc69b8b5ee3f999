//! First-call stubs: what native function slots point at until libc is there.
//!
//! # Safety
//! This file exists because a stub is entered with another function's arguments in its registers, and has to leave them
//! as they are. It is all assembly; comments say what it relies on.
#![allow(unsafe_code)]

use core::arch::global_asm;

use rtld::base::addr::RuntimeAddr;
use rtld::link::reloc::{LoaderCode, StubLayout, Stubs};

use crate::platform::image::WORDS_WAIT;
use crate::run::cpu::calls::tls_descriptor;

/// The first-call stubs, as the assembler makes them below.
const STUBS: StubLayout = StubLayout { groups: 32, per_group: 32, stride: 4, group_stride: 144 };

/// Vector state that can carry arguments: x87, SSE, AVX, and AVX-512's three (Intel SDM, XCR0).
const STATE_MASK: u32 = 0xe7;

// A stub pushes its number within its group; the group's end makes of it the number in r11, which no calling
// convention uses for arguments, and goes to the common part. Four bytes a stub: a short push, a short jump.
// That jumps on if the import is bound. If not, it saves every register that can carry an argument, at full
// width: the general ones with rax (al counts vector arguments of variadic calls) and r10 (static chain), and
// the vector state with MXCSR. It asks for the target, restores all, and jumps there with the stack as found.
//
// XSAVE is used where the kernel has enabled it; CPUID leaf 1 says so (OSXSAVE). The area's size needs no
// CPUID: AT_MINSIGSTKSZ counts all enabled state, and without it (before Linux 5.14) 4096 bytes hold what
// could then be enabled.
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
    ".cfi_startproc",
    "push rax",
    ".cfi_adjust_cfa_offset 8",
    "mov rax, [rip + {targets}]",
    "mov rax, [rax + 8*r11]",
    "test rax, rax",
    "jz 2f",
    "mov r11, rax",
    ".cfi_remember_state",
    "pop rax",
    ".cfi_adjust_cfa_offset -8",
    "jmp r11",
    "2:",
    ".cfi_restore_state",
    "pop rax",
    ".cfi_adjust_cfa_offset -8",
    "slul_ask:",
    "push rbp",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_rel_offset rbp, 0",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
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
    "push r11",
    "mov r12, rsp",
    "sub rsp, [rip + {size}]",
    "and rsp, -64",
    "mov eax, 1",
    "xor ecx, ecx",
    "cpuid",
    "mov ebx, ecx",
    "and ebx, 0x8000000", // OSXSAVE, kept in rbx
    "jz 3f",
    // The header is to be zero (SDM, XRSTOR); the rest XSAVE writes or does not read back.
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
    "mov rdi, [r12]",
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
    "pop r11",
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
    ".cfi_def_cfa rsp, 8",
    ".cfi_restore rbp",
    "jmp r11",
    ".cfi_endproc",
    ".size slul_stub_common, . - slul_stub_common",
    // Function of a TLS descriptor with a `Described`: the descriptor is in rax, the offset is to be, and nothing else
    // changes. If the thread's block does not have its initial values yet, that is asked for, and tried again.
    ".globl slul_described",
    ".hidden slul_described",
    ".type slul_described, @function",
    "slul_described:",
    "push rcx",
    "push rdx",
    "mov rdx, [rax + 8]",
    "mov rcx, fs:[0]",
    "add rcx, [rip + {state}]",
    "mov rcx, [rcx]",
    "test rcx, [rdx]",
    "jz 2f",
    "mov rax, [rdx + 8]",
    "pop rdx",
    "pop rcx",
    "ret",
    "2:",
    "pop rdx",
    "pop rcx",
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
    ".popsection",
    groups = const STUBS.groups,
    per_group = const STUBS.per_group,
    mask = const STATE_MASK,
    targets = sym crate::run::native::binding::TARGETS,
    size = sym crate::run::native::binding::STATE_SIZE,
    state = sym crate::run::thread::STATE_DISTANCE,
    asked = sym asked,
);

unsafe extern "C" {
    safe static slul_stubs: u8;
    safe static slul_described: u8;
    safe static slul_described_again: u8;
}

/// Where to go on: with the function of an import, given its number; or, given the address of a `Described` with the
/// highest bit set, where that is tried again.
extern "C" fn asked(what: u64) -> usize {
    const DESCRIBED: u64 = 1 << 63;
    if what & DESCRIBED == 0 {
        return crate::run::first_call::first_call(u32::try_from(what).unwrap_or(u32::MAX));
    }
    crate::run::thread::make_described_ready(what & !DESCRIBED);
    (&raw const slul_described_again).expose_provenance()
}

/// Code that relocated words may refer to.
pub(crate) fn code() -> LoaderCode {
    let stubs = Stubs { start: RuntimeAddr::of(&raw const slul_stubs), layout: STUBS };
    LoaderCode {
        stubs: if WORDS_WAIT { stubs } else { stubs.none() },
        tls_descriptor: RuntimeAddr::of(tls_descriptor as *const ()),
        tls_described: RuntimeAddr::of(&raw const slul_described),
    }
}
