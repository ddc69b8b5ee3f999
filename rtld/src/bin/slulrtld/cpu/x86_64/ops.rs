//! x86_64: the assembly that the loader calls: reads and writes before relocation, inline system calls, the thread
//! pointer, changes of the stack, the entry into ld.so. Nothing here calls back into the loader.
//!
//! # Safety
//! This file exists because Rust can not express registers, changes of the stack, and code that the kernel or ld.so
//! enters. Comments at each piece say what may be relied on there.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;

use rtld::link::reloc::StubLayout;

use crate::run::cpu::calls::{present_thread_pointer, system_call};
use crate::run::cpu::frames::{frame_begins, frame_ends, frame_outermost};
use crate::run::cpu::stub_layout::STUBS;

// Compiled code's unwind tables, for debuggers that are given the file before it was stripped. The debug build keeps
// them where they are.
#[cfg(not(debug_assertions))]
core::arch::global_asm!(".cfi_sections .debug_frame");

/// Reads a value at an address that the compiler knows nothing about, at any alignment, as the machine permits. For
/// code that runs before relocation.
///
/// # Safety
/// There is a value of that type at the address.
#[inline(always)]
pub(crate) unsafe fn load<T: Word>(address: usize) -> T {
    // SAFETY: by the caller.
    unsafe { T::load(address) }
}

/// A type that [`load`] reads with one instruction, without code of `core` around it.
pub(crate) trait Word: Copy {
    /// Reads a value of this type, see [`load`].
    ///
    /// # Safety
    /// There is a value of this type at the address.
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

/// Writes a word at an address that the compiler knows nothing about. For code that runs before relocation.
///
/// # Safety
/// The word at the address is writable, and the caller's to write.
#[inline(always)]
pub(crate) unsafe fn store(address: usize, value: usize) {
    // SAFETY: by the caller.
    unsafe {
        asm!("mov qword ptr [{}], {}", in(reg) address, in(reg) value, options(nostack, preserves_flags));
    }
}

/// Writes a quarter of a word.
///
/// # Safety
/// As of [`store`].
#[inline(always)]
pub(crate) unsafe fn store_short(address: usize, value: u16) {
    // SAFETY: by the caller.
    unsafe {
        asm!("mov word ptr [{}], {:x}", in(reg) address, in(reg) value, options(nostack, preserves_flags));
    }
}

/// Number of the relocation type whose value is load bias plus addend (R_X86_64_RELATIVE).
pub(crate) const RELATIVE: u32 = 8;

/// That of an address plus addend (R_X86_64_64).
pub(crate) const ABSOLUTE: u32 = 1;

/// That of an address in a GOT entry (R_X86_64_GLOB_DAT).
pub(crate) const GLOB_DAT: u32 = 6;

/// That of an address in a PLT's slot (R_X86_64_JUMP_SLOT).
pub(crate) const JUMP_SLOT: u32 = 7;

/// An address in the loader, before it is relocated: of a symbol that the linker knows.
macro_rules! address_of {
    ($symbol:expr) => {{
        let address: usize;
        // SAFETY: touches no memory.
        unsafe {
            asm!(concat!("lea {}, [rip + ", $symbol, "]"), out(reg) address, options(nomem, nostack, preserves_flags));
        }
        address
    }};
}

/// Address of a first-call stub.
#[inline(always)]
pub(crate) fn stub(number: u16) -> usize {
    let StubLayout { per_group, stride, group_stride, .. } = STUBS;
    // The number of stubs in a group is a power of two.
    let (number, last) = (u64::from(number), per_group.wrapping_sub(1));
    let (group, within) = (number.wrapping_shr(per_group.trailing_zeros()), number & last);
    let offset = group.wrapping_mul(group_stride).wrapping_add(within.wrapping_mul(stride));
    // Fewer bytes than a megabyte.
    address_of!("slul_stubs").wrapping_add((offset & 0xf_ffff) as usize)
}

/// Address of `_r_debug`.
#[inline(always)]
pub(crate) fn debugger_rendezvous() -> usize {
    address_of!("_r_debug")
}

/// Address of `_dl_debug_state`.
#[inline(always)]
pub(crate) fn debugger_stop() -> usize {
    address_of!("_dl_debug_state")
}

/// Address of the list of a plain start.
#[inline(always)]
pub(crate) fn plain_list() -> usize {
    address_of!("slul_plain_list")
}

/// Addresses of the loader's own DT_GNU_HASH, DT_SYMTAB and DT_STRTAB.
#[inline(always)]
pub(crate) fn own_tables() -> (usize, usize, usize) {
    (address_of!("slul_own_hash"), address_of!("slul_own_symbols"), address_of!("slul_own_strings"))
}

/// Addresses of the loader's ELF header, of its dynamic section, with which what it writes to begins, of its variables, which
/// come after what is only relocated, and of their end.
#[inline(always)]
pub(crate) fn own_places() -> (usize, usize, usize, usize) {
    let (header, dynamic) = (address_of!("__ehdr_start"), address_of!("_DYNAMIC"));
    (header, dynamic, address_of!("slul_variables"), address_of!("slul_end"))
}

/// Size of a page in bytes.
pub(crate) const PAGE: usize = 4096;

/// A function without callers. Once libc is present, backtraces of a program that the loader calls end in this name,
/// which tells the reader of a backtrace what has brought libc in.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __notice__libc_bogomapped_by_slul() -> ! {
    // It has no caller: backtraces end here.
    naked_asm!(frame_begins!(), "nop", "ud2", frame_ends!(frame_outermost!()))
}

/// Makes backtraces end at `frame`, the address after the first instruction of a function like that.
///
/// # Safety
/// [`switch_stack`](crate::run::cpu::calls::switch_stack) changed to the stack at `sp`, and the function that it called
/// there has not returned.
pub(crate) unsafe fn leave_notice(sp: u64, frame: usize) {
    let place: *mut usize = core::ptr::with_exposed_provenance_mut(rtld::base::addr::to_usize(sp.wrapping_sub(8)));
    // SAFETY: the return address that `switch_stack` has pushed, to which nothing returns.
    unsafe { place.write(frame) };
}

/// Calls `function` with `argument` on another stack, and returns to this one.
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

/// Makes a system call of up to six arguments, inline, because nothing can be called before the loader is relocated.
///
/// # Safety
/// That of the system call.
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

/// Bit of AT_HWCAP2: the kernel permits the instruction `wrfsbase`.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// Sets the thread pointer. `false` if the kernel refuses.
///
/// # Safety
/// `tp` is the address of a TCB, whose first word is that address.
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

/// [`present_thread_pointer`], if the kernel permits the system call by which libcs set it. That is tried with the present
/// value.
pub(crate) fn changeable_thread_pointer() -> Option<usize> {
    const ARCH_SET_FS: usize = 0x1002;
    let tp = present_thread_pointer()?;
    // SAFETY: sets the thread pointer to its present value.
    let set = unsafe { system_call(linux_raw_sys::general::__NR_arch_prctl, [ARCH_SET_FS, tp, 0, 0]) };
    (set == 0).then_some(tp)
}

/// Reads a word and writes the same value, in one instruction: a page that is copied on write then costs one page
/// fault, and not one for the read and one for the write.
///
/// # Safety
/// The word at the address is writable, and the caller's to write.
#[inline(always)]
pub(crate) unsafe fn touch(address: usize) {
    // SAFETY: by the caller.
    unsafe { asm!("or qword ptr [{}], 0", in(reg) address, options(nostack)) };
}

unsafe extern "C" {
    safe static _DYNAMIC: u8;
    safe static slul_variables: u8;
}

/// The pages that the loader writes to while it relocates itself, and never again.
pub(crate) fn relocated_data() -> NonNull<[u8]> {
    let start = NonNull::from(&_DYNAMIC);
    let end = (&raw const slul_variables).addr();
    NonNull::slice_from_raw_parts(start, end.wrapping_sub(start.as_ptr().addr()))
}

/// Stack pointer at which [`enter`] saved its registers.
pub(crate) static SAVED_SP: AtomicUsize = AtomicUsize::new(0);

/// Enters ld.so in the kernel's way: the block is at the stack pointer, x87 and SSE are in their initial state. Returns
/// when libc calls its `main`, which is `escape` (`template_entry.rs`), to the stack of the caller and with the
/// registers that a function preserves. The frames of `__libc_start_main` stay alive on the other stack.
///
/// # Safety
/// `sp` is the address of a block, with unused stack below it; `entry` is the entry of ld.so. Called once.
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

/// The instruction by which a function returns.
pub(crate) const RETURN: u8 = 0xc3;

/// Calls a function with up to three arguments that takes the code at `place` for its caller: it returns to the instruction
/// there, which returns here.
///
/// # Safety
/// Code of such a function is at the address `function`, and [`RETURN`] in executable memory at `place`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_from(
    first: usize,
    second: usize,
    third: usize,
    function: u64,
    place: u64,
) -> usize {
    naked_asm!(
        "lea rax, [rip + 2f]",
        // The function finds the stack aligned as a call leaves it.
        "push rax",
        "push r8",
        "jmp rcx",
        "2:",
        "ret",
    )
}
