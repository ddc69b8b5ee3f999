//! x86_64: the assembly that both programs call: transfer of control, system calls, the thread pointer. Nothing here
//! calls back into them.
//!
//! # Safety
//! This file exists because Rust can not express registers and a change of the stack. Comments at each piece say what
//! may be relied on there.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};

use super::frames::{frame_begins, frame_ends, frame_from, frame_outermost, frame_size};
use crate::run::cpu::number;

/// Enters the program in the kernel's way.
///
/// # Safety
/// `entry` is code, `sp` is the address of a block, and nothing on this stack is needed again.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn transfer(entry: u64, sp: u64, finaliser: Option<extern "C" fn()>) -> ! {
    naked_asm!("mov rsp, rsi", "xor ebp, ebp", "jmp rdi")
}

/// Copies a block of so many words to `sp`, and calls `next` on the stack below it, for good.
///
/// # Safety
/// `sp` is a multiple of 16. The block is there, or above where the copy ends. Nothing on the stack that ends with the copy is
/// needed again.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_stack(
    sp: u64,
    block: *const u64,
    words: usize,
    next: extern "C" fn() -> !,
) -> ! {
    naked_asm!(
        frame_begins!(),
        "mov rax, rcx",
        "mov rcx, rdx",
        "mov rsp, rdi",
        "rep movsq",
        "xor ebp, ebp",
        "call rax",
        "ud2",
        // Nothing is behind it on this stack.
        frame_ends!(frame_outermost!()),
    )
}

/// Calls the program's C entry, and `exit` with what it returns. Nothing of the loader's is in the program's backtraces: right
/// below the block at `sp` is a return address of [`switch_stack`], or of who was entered with the block, where they end.
///
/// # Safety
/// `entry` is a function of the first four arguments; `sp` is the address of the program's block, below which the stack of
/// this thread goes on, and nothing that lives there but the word below the block is needed again.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_entry(
    argc: u64,
    argv: u64,
    envp: u64,
    auxv: u64,
    entry: u64,
    sp: u64,
    exit: unsafe extern "C" fn(i32) -> !,
) -> ! {
    naked_asm!(
        frame_begins!(),
        "mov rax, [rsp + 8]", // the seventh argument
        "lea rsp, [r9 - 16]",
        "2:",
        "mov [rsp], rax",
        "xor ebp, ebp",
        "call r8",
        "mov edi, eax",
        "call [rsp]",
        "ud2",
        frame_ends!(frame_from!("88b", "2b"), frame_size!("16")),
    )
}

/// Calls a function of an object's with up to three arguments, and answers what it answers. Backtraces end here: frames of
/// compiled code, which are behind it, have no unwind entries.
///
/// # Safety
/// Code of such a function is at the address.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_object(first: u64, second: u64, third: u64, function: u64) -> u64 {
    naked_asm!(
        frame_begins!(),
        "push rax", // so that the stack is aligned
        "call rcx",
        "pop rcx",
        "ret",
        frame_ends!(frame_outermost!()),
    )
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
pub(crate) type Action = [usize; 4];

/// Room for one.
pub(crate) const NO_ACTION: Action = [0; 4];

/// An action that calls `handler`, which does not return.
pub(crate) const fn action(handler: usize) -> Action {
    /// The kernel delivers no signal to a handler without a restorer. No handler here returns, so the restorer is never
    /// called.
    const SA_RESTORER: usize = 0x0400_0000;
    [handler, SA_RESTORER, handler, 0]
}

/// Makes a system call; returns the kernel's result.
///
/// # Safety
/// That of the system call.
pub(crate) unsafe fn system_call(number: u32, arguments: [usize; 4]) -> isize {
    let [a, b, c, d] = arguments;
    let result;
    // SAFETY: by the caller.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Makes a system call with six arguments; returns the kernel's result.
///
/// # Safety
/// That of the system call.
pub(crate) unsafe fn system_call_6(number: u32, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: by the caller.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Ends the process.
pub(crate) fn exit_group(status: i32) -> ! {
    let number = number::EXIT_GROUP;
    // SAFETY: ends the process, whatever state it is in.
    unsafe { asm!("syscall", "ud2", in("rax") number, in("rdi") status, options(noreturn, nostack)) }
}

/// Ends the process after a bug of the loader, with a core dump.
pub(crate) fn trap() -> ! {
    // SAFETY: ends the process.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}

/// Function of a TLS descriptor whose argument is an offset from the thread pointer: returns that in rax. It is called
/// with the descriptor's address in rax, and may change no other register (Oliva and Araujo, "Thread-Local Storage
/// Descriptors").
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn tls_descriptor() {
    naked_asm!("mov rax, [rax + 8]", "ret")
}

/// Function of a TLS descriptor whose argument is an address: returns its distance from the thread pointer, to which the caller adds
/// that.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn tls_undefined() {
    naked_asm!("mov rax, [rax + 8]", "sub rax, fs:[0]", "ret")
}

/// The calling thread's thread pointer, which is the first word of its TCB (TLS variant II).
///
/// # Safety
/// A thread pointer is set.
pub(crate) unsafe fn thread_pointer() -> usize {
    let tp;
    // SAFETY: by the caller.
    unsafe { asm!("mov {}, fs:[0]", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// The calling thread's thread pointer, 0 if none is set; `None` if the kernel does not tell.
pub(crate) fn present_thread_pointer() -> Option<usize> {
    const ARCH_GET_FS: usize = 0x1003;
    let mut tp = 0usize;
    let arguments = [ARCH_GET_FS, (&raw mut tp).expose_provenance(), 0, 0];
    // SAFETY: a word of ours.
    (unsafe { system_call(linux_raw_sys::general::__NR_arch_prctl, arguments) } == 0).then_some(tp)
}
