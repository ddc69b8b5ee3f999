//! x86_64: what the loader executes by hand: reading and writing before relocation, system calls in line, the thread
//! pointer, stacks that are switched, the way into ld.so. Nothing here calls back into the loader.
//!
//! # Safety
//! This file exists because all of it is outside of what Rust can say: registers, stacks that are switched,
//! code that is entered by the kernel or by ld.so. Comments at each piece say what may be relied on there.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;

use crate::run::cpu::calls::{system_call, thread_pointer};

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

word!(u16, "movzx {value:e}, word ptr [{address}]");
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

/// The relocation type of load bias plus addend (R_X86_64_RELATIVE).
pub(crate) const RELATIVE: u32 = 8;

/// Size of a page in bytes.
pub(crate) const PAGE: usize = 4096;

/// Nothing returns here. Once libc is there, backtraces of a program that the loader calls end in this name, so that
/// whoever looks at a fault knows who has brought libc in.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __notice__libc_bogomapped_by_slul() -> ! {
    // Nobody has called it: backtraces end here.
    naked_asm!(".cfi_startproc", ".cfi_undefined rip", "nop", "ud2", ".cfi_endproc")
}

/// Lets backtraces end in `frame`, an address after the first instruction of a function like that.
///
/// # Safety
/// [`switch_stack`] went to the stack at `sp`, and what it went on in has not returned.
pub(crate) unsafe fn leave_notice(sp: u64, frame: usize) {
    let place: *mut usize = core::ptr::with_exposed_provenance_mut(rtld::base::addr::to_usize(sp.wrapping_sub(8)));
    // SAFETY: the return address that `switch_stack` has pushed, to which nothing returns.
    unsafe { place.write(frame) };
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

/// A system call with all its arguments, in line: before the loader is relocated nothing is called.
///
/// # Safety
/// As the system call's.
#[inline(always)]
pub(crate) unsafe fn call(number: u32, arguments: [usize; 6]) -> usize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: by the caller.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
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

/// Whether the kernel lets the thread pointer be set by a system call, as libcs do: it is set to what it is.
pub(crate) fn may_set_thread_pointer(is_set: bool) -> bool {
    const ARCH_SET_FS: usize = 0x1002;
    // SAFETY: read only where one is set.
    let tp = if is_set { unsafe { thread_pointer() } } else { 0 };
    // SAFETY: changes nothing.
    unsafe { system_call(linux_raw_sys::general::__NR_arch_prctl, [ARCH_SET_FS, tp, 0, 0]) == 0 }
}

/// Reads a word and writes it again, in one instruction: where the page is to be copied for that, there is one page fault,
/// and not one for reading and one for writing.
///
/// # Safety
/// The word at the address is the caller's to write.
#[inline(always)]
pub(crate) unsafe fn touch(address: usize) {
    // SAFETY: by the caller.
    unsafe { asm!("or qword ptr [{}], 0", in(reg) address, options(nostack)) };
}

unsafe extern "C" {
    safe static _DYNAMIC: u8;
    safe static slul_variables: u8;
}

/// What the loader writes to while it relocates itself, and never again: whole pages.
pub(crate) fn relocated_data() -> NonNull<[u8]> {
    let start = NonNull::from(&_DYNAMIC);
    let end = (&raw const slul_variables).addr();
    NonNull::slice_from_raw_parts(start, end.wrapping_sub(start.as_ptr().addr()))
}

/// Where [`enter`] left its registers.
pub(crate) static SAVED_SP: AtomicUsize = AtomicUsize::new(0);

/// Enters ld.so as the kernel would: the block at the stack pointer, x87 and SSE in their initial state.
/// Returns when libc calls its `main`, `escape` (`template_entry.rs`): on the stack that this was called on, with the registers
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
