//! x86_64: the entry of the template, and the `main` that libc calls.
//!
//! # Safety
//! This file exists because ld.so enters it like the kernel enters a program, and libc calls it on that stack.
#![allow(unsafe_code)]

use core::arch::naked_asm;

/// AT_ENTRY of the template. Does the work of crt0, with [`escape`] for `main`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn template_entry() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov [rip + {finaliser}], rdx",
        "mov r13, rsp",
        "and rsp, -16",
        "call {hook}",
        // __libc_start_main(main, argc, argv, init, fini, rtld_fini, stack_end); rtld_fini is called by ours.
        "mov rsp, r13",
        "xor r9d, r9d",
        "mov rdx, [rip + {block}]",
        "mov rsi, [rdx]",
        "add rdx, 8",
        "xor ecx, ecx",
        "xor r8d, r8d",
        "lea rdi, [rip + {escape}]",
        "and rsp, -16",
        "push rax",
        "push r13",
        "mov rax, [rip + {loader_targets}]",
        "call [rax]",
        "ud2",
        finaliser = sym crate::platform::finalisers::NATIVE_FINALISER,
        block = sym crate::platform::hook::MAIN_BLOCK,
        hook = sym crate::platform::hook::hook,
        escape = sym escape,
        loader_targets = sym crate::run::native::libc::LOADER_TARGETS,
    )
}

/// libc's `main`: returns to the caller of `enter` (`ops.rs`).
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
        saved = sym crate::cpu::ops::SAVED_SP,
    )
}
