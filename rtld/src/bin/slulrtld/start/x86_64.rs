//! x86_64: entry, transfer, system calls, the thread pointer, first-call stubs, and the way into ld.so.
//!
//! # Safety
//! This file exists because all of it is outside of what Rust can say: registers, stacks that are switched,
//! code that is entered by the kernel or by ld.so. Comments at each piece say what may be relied on there.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm, naked_asm};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize};

use rtld::addr::RuntimeAddr;
use rtld::reloc::{StubLayout, Stubs};

/// Reads a value at an address that relocation has not made known to Rust. At any alignment, as the machine
/// allows.
///
/// # Safety
/// There is a value of that type at the address.
#[inline(always)]
pub(crate) unsafe fn load<T: Word>(address: usize) -> T {
    // SAFETY: by the caller.
    unsafe { T::load(address) }
}

/// What [`load`] can read, with one instruction and no code of `core`'s around it.
pub(crate) trait Word: Copy {
    /// As [`load`].
    ///
    /// # Safety
    /// As [`load`].
    unsafe fn load(address: usize) -> Self;
}

impl Word for u8 {
    #[inline(always)]
    unsafe fn load(address: usize) -> Self {
        let value;
        // SAFETY: by the caller.
        unsafe {
            asm!("mov {value}, byte ptr [{address}]", value = out(reg_byte) value, address = in(reg) address,
                options(nostack, preserves_flags, readonly));
        }
        value
    }
}

macro_rules! word {
    ($type:ty, $instruction:literal) => {
        impl Word for $type {
            #[inline(always)]
            unsafe fn load(address: usize) -> Self {
                let value;
                // SAFETY: by the caller.
                unsafe {
                    asm!($instruction, value = out(reg) value, address = in(reg) address,
                        options(nostack, preserves_flags, readonly));
                }
                value
            }
        }
    };
}

word!(u32, "mov {value:e}, dword ptr [{address}]");
word!(u64, "mov {value}, qword ptr [{address}]");
word!(usize, "mov {value}, qword ptr [{address}]");

/// Writes a word at an address that relocation has not made known to Rust.
///
/// # Safety
/// The word at the address is the caller's to write.
#[inline(always)]
pub(crate) unsafe fn store(address: usize, value: usize) {
    // SAFETY: by the caller.
    unsafe {
        asm!("mov qword ptr [{}], {}", in(reg) address, in(reg) value, options(nostack, preserves_flags));
    }
}

/// Where the kernel enters: the block is at the stack pointer, which is a multiple of 16.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "lea rsi, [rip + _start]",
        "call {plain}",
        "test rax, rax",
        "jz 2f",
        "test rdx, rdx",
        "jnz {call}",
        // rdx is 0: no finaliser.
        "jmp rax",
        "2:",
        "lea rdi, [rip + __ehdr_start]",
        "lea rsi, [rip + _DYNAMIC]",
        "call {relocate}",
        "mov rdi, rsp",
        "call {main}",
        "ud2",
        plain = sym super::super::plain::slul_plain_start,
        call = sym slul_plain_call,
        relocate = sym super::super::bootstrap::slul_relocate_self,
        main = sym super::super::slul_main,
    )
}

/// Calls the C entry in rax of a program that needs nothing else; rdx is auxv, the block is at rsp.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_plain_call() -> ! {
    naked_asm!(
        "mov rcx, rdx",
        "mov rdi, [rsp]",
        "lea rsi, [rsp + 8]",
        "lea rdx, [rsi + 8*rdi + 8]",
        "call rax",
        "mov edi, eax",
        "mov eax, 231", // exit_group
        "syscall",
        "ud2",
    )
}

/// Enters the program as the kernel would have.
///
/// # Safety
/// `entry` is code, `sp` the address of a block, and nothing that lives on this stack is needed again.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn transfer(entry: u64, sp: u64, finaliser: extern "C" fn()) -> ! {
    naked_asm!("mov rsp, rsi", "xor ebp, ebp", "jmp rdi")
}

/// Goes on in `next` on another stack.
///
/// # Safety
/// `sp` is a multiple of 16, with unused stack below it.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_stack(sp: u64, next: extern "C" fn() -> !) -> ! {
    naked_asm!("mov rsp, rdi", "xor ebp, ebp", "call rsi", "ud2")
}

/// Calls `function` with `argument` on another stack, and comes back to this one.
///
/// # Safety
/// `sp` is a multiple of 16, with enough unused stack below it.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_on_stack(sp: u64, function: extern "C" fn(usize), argument: usize) {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        "ret",
    )
}

/// A system call; answers what the kernel answers.
///
/// # Safety
/// As the system call's.
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

/// Ends the process.
pub(crate) fn exit_group(status: i32) -> ! {
    let number = linux_raw_sys::general::__NR_exit_group;
    // SAFETY: ends the process, whatever state it is in.
    unsafe { asm!("syscall", "ud2", in("rax") number, in("rdi") status, options(noreturn, nostack)) }
}

/// Ends the process after a bug of ours, in a way that leaves a core file.
pub(crate) fn trap() -> ! {
    // SAFETY: ends the process.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}

/// Bit of AT_HWCAP2: the kernel lets programs use `wrfsbase`.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// Sets the thread pointer.
///
/// # Safety
/// `tp` is the address of a TCB: its first word is its own address.
pub(crate) unsafe fn set_thread_pointer(tp: usize, hwcap2: u64) -> bool {
    if hwcap2 & HWCAP2_FSGSBASE != 0 {
        // SAFETY: by the caller; the kernel says that the instruction may be used.
        unsafe { asm!("wrfsbase {}", in(reg) tp, options(nostack, preserves_flags)) };
        return true;
    }
    const ARCH_SET_FS: usize = 0x1002;
    let number = linux_raw_sys::general::__NR_arch_prctl;
    // SAFETY: by the caller.
    unsafe { system_call(number, [ARCH_SET_FS, tp, 0, 0]) == 0 }
}

/// The first-call stubs, as the assembler makes them below.
const STUBS: StubLayout = StubLayout { groups: 32, per_group: 32, stride: 4, group_stride: 144 };

/// For each import, where its stub jumps to; 0 until libc is there for every thread.
pub(crate) static TARGETS: AtomicPtr<AtomicUsize> = AtomicPtr::new(core::ptr::null_mut());

/// Bytes of stack that hold all vector state, a multiple of 64: AT_MINSIGSTKSZ and what rounding takes.
pub(crate) static STATE_SIZE: AtomicUsize = AtomicUsize::new(0);

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
    "mov edi, dword ptr [r12]",
    "call {first_call}",
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
    ".popsection",
    groups = const STUBS.groups,
    per_group = const STUBS.per_group,
    mask = const STATE_MASK,
    targets = sym TARGETS,
    size = sym STATE_SIZE,
    first_call = sym super::super::bogomap::first_call,
);

unsafe extern "C" {
    safe static slul_stubs: u8;
    safe static __ehdr_start: u8;
    safe static _DYNAMIC: u8;
}

/// The first-call stubs.
pub(crate) fn stubs() -> Stubs {
    let start = RuntimeAddr((&raw const slul_stubs).expose_provenance() as u64);
    Stubs { start, layout: STUBS }
}

/// The loader's own ELF header.
pub(crate) fn own_header() -> NonNull<u8> {
    NonNull::from(&__ehdr_start)
}

/// Address of the code that the kernel enters.
pub(crate) fn own_entry() -> u64 {
    (_start as *const ()).expose_provenance() as u64
}

/// Where [`enter`] left its registers.
static SAVED_SP: AtomicUsize = AtomicUsize::new(0);

/// What ld.so binds for the loader itself, in the order of `libc_template::LOADER_IMPORTS`.
pub(crate) static LOADER_TARGETS: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

/// Enters ld.so as the kernel would: the block at the stack pointer, x87 and SSE in their initial state.
/// Returns when libc calls [`escape`], its `main`: on the stack that this was called on, with the registers
/// that a function preserves. The frames of `__libc_start_main` stay alive above.
///
/// # Safety
/// `sp` is the address of a block, with unused stack below it; `entry` is ld.so's. Called once.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter(sp: u64, entry: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rip + {saved}], rsp",
        "mov rsp, rdi",
        "push 0x1f80",
        "ldmxcsr [rsp]",
        "pop rax",
        "fninit",
        "cld",
        "xor edx, edx",
        "xor ebp, ebp",
        "jmp rsi",
        saved = sym SAVED_SP,
    )
}

/// AT_ENTRY of the template: what crt0 does, with [`escape`] for `main`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn template_entry() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov r12, rdx",
        "mov r13, rsp",
        "and rsp, -16",
        "call {hook}",
        // __libc_start_main(main, argc, argv, init, fini, rtld_fini, stack_end)
        "mov rsp, r13",
        "mov r9, r12",
        "mov rsi, [rsp]",
        "lea rdx, [rsp + 8]",
        "xor ecx, ecx",
        "xor r8d, r8d",
        "lea rdi, [rip + {escape}]",
        "and rsp, -16",
        "push rax",
        "push r13",
        "call [rip + {loader_targets}]",
        "ud2",
        hook = sym super::super::bogomap::hook,
        escape = sym escape,
        loader_targets = sym LOADER_TARGETS,
    )
}

/// libc's `main`: back to where [`enter`] was called.
#[unsafe(naked)]
unsafe extern "C" fn escape() -> ! {
    naked_asm!(
        "mov rsp, [rip + {saved}]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        saved = sym SAVED_SP,
    )
}
