//! Code that needs a processor's own instructions, for a process in which libc has been entered.
//!
//! # Safety
//! This file exists because the stack is laid out by hand, and code is referred to by address.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm, naked_asm};

/// The memory functions, which the compiler expects, and libc defines.
pub(crate) mod memory {
    unsafe extern "C" {
        pub(crate) fn memcpy();
        pub(crate) fn memmove();
        pub(crate) fn memset();
        pub(crate) fn memcmp();
        pub(crate) fn bcmp();
        pub(crate) fn strlen();
    }
}

/// Defines the entry, `_start`, which calls a function with the address of the kernel's block and with rdx, which ld.so leaves for
/// atexit(3) (psABI, process initialisation).
macro_rules! entry {
    ($start:path) => {
        #[allow(unsafe_code)]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn _start() -> ! {
            core::arch::naked_asm!(
                ".cfi_startproc",
                // Backtraces end here.
                ".cfi_undefined rip",
                "xor ebp, ebp",
                "mov rdi, rsp",
                "mov rsi, rdx",
                "and rsp, -16",
                "call {start}",
                "ud2",
                ".cfi_endproc",
                start = sym $start,
            )
        }
    };
}
pub(crate) use entry;

/// Calls `function` with the address of `size` bytes of stack above its frame, and two further arguments.
///
/// # Safety
/// `size` is a multiple of 16.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn with_room(
    size: usize,
    function: unsafe extern "C" fn(usize, i32, *const u64) -> !,
    second: i32,
    third: *const u64,
) -> ! {
    naked_asm!(
        ".cfi_startproc",
        // Backtraces of the program end here, not among libc's frames.
        ".cfi_undefined rip",
        "push rbp",
        "mov rax, rsi",
        "mov esi, edx",
        "mov rdx, rcx",
        // Touch each page in turn: the kernel extends the stack page by page.
        "3:",
        "cmp rdi, 4096",
        "jb 4f",
        "sub rsp, 4096",
        "or qword ptr [rsp], 0",
        "sub rdi, 4096",
        "jmp 3b",
        "4:",
        "sub rsp, rdi",
        "mov rdi, rsp",
        "call rax",
        "ud2",
        ".cfi_endproc",
    )
}

/// The number of a system call that this program alone makes.
pub(crate) use linux_raw_sys::general::__NR_prctl as PRCTL;

/// Room for thread-local storage in bytes. libcs take it from the requested stack of a thread: with more, glibc no
/// longer starts threads that ask for PTHREAD_STACK_MIN.
const ROOM: usize = 5 << 10;

// The only thread-local storage of this executable. It is in .tdata and not in .tbss, because later threads get its
// contents, which will be the program's initial image.
global_asm!(
    ".pushsection .tdata, \"awT\", @progbits",
    ".balign 64",
    "slul_room:",
    ".zero {room}",
    ".popsection",
    room = const ROOM,
);

/// Distance of the room from the thread pointer, as the linker has placed it.
pub(crate) fn room_distance() -> i64 {
    let distance;
    // SAFETY: reads a word that ld.so has relocated.
    unsafe {
        asm!("mov {}, qword ptr [rip + slul_room@gottpoff]", out(reg) distance,
            options(nostack, preserves_flags, readonly));
    }
    distance
}
