/* What the stubs for x86_64 share. The contract, and the SLUL_* values that they are assembled
 * with, are in abi/src/stub.rs. */
    .intel_syntax noprefix

    .set SYS_write, 1
    .set SYS_open, 2
    .set SYS_close, 3
    .set SYS_fstat, 5
    .set SYS_lseek, 8
    .set SYS_mmap, 9
    .set SYS_mprotect, 10
    .set SYS_munmap, 11
    .set SYS_execve, 59
    .set SYS_exit_group, 231

    .set O_NOCTTY, 0x100
    .set O_NONBLOCK, 0x800
    .set O_CLOEXEC, 0x80000
    .set ENOENT, 2

    .set AT_BASE, 7
    .set AT_UID, 11
    .set AT_SECURE, 23
    .set AT_EXECFN, 31

/* Where the program's own entry is, for the loader, and the function for debuggers, if there is one. */
    .macro LINKED_TO changed
    .balign 4
    .long SLUL_OWNER_SIZE, SLUL_RT0_DESC_SIZE, SLUL_NT_RT0
    .long SLUL_OWNER, 0
    .long _start - .
    .ifb \changed
    .long 0
    .else
    .long \changed - . + 4
    .endif
    .endm

    .section .note.GNU-stack, "", @progbits

    .section .text.slul_rt0, "ax", @progbits
    .globl slul_rt0
    .type slul_rt0, @function

/* What is said of the loader's path, before and after it. */
    .macro LOADER_TEXT
before:
    .ascii "slulrtld: can not run "
loader:
    .ascii SLUL_LOADER
    .set BEFORE, . - before
    .byte 0
    .set LOADER_SIZE, . - loader
after:
    .ascii ": install slulrtld\n"
    .set AFTER, . - after
    .endm

/* Says that, and ends the program. Or says something else: edx bytes at rsi. Short: what is in rdi is known, and a
 * syscall keeps it. */
    .macro REFUSALS
not_installed:
    mov edi, 2
    lea rsi, [rip + before]
    lea edx, [rdi + BEFORE - 2]
    lea eax, [rdi + SYS_write - 2]
    syscall
    lea rsi, [rip + after]
    lea edx, [rdi + AFTER - 2]
refuse:
    mov edi, 2
    lea eax, [rdi + SYS_write - 2]
    syscall
    lea edi, [rdi + SLUL_REFUSED - 2]
    lea eax, [rdi + SYS_exit_group - SLUL_REFUSED]
    syscall
    ud2
    .endm
