/* rt0-map.o: maps the installed loader into the process, and jumps to it. rt0-embed.o (SLUL_EMBED): the same, or to the
 * loader that it carries.
 * SPDX-License-Identifier: 0BSD OR MIT OR Apache-2.0
 */
#include "common.h"

    .section .note.slul, "a", @note
    LINKED_TO _dl_debug_state
    .section .text.slul_rt0

    .set PROT_READ_WRITE, 3
    .set PROT_READ_EXEC, 5
    .set MAP_PRIVATE, 2
    .set SEEK_END, 2
    .set PAGE, 4096

    .set ET_DYN, 3
    .set PT_LOAD, 1
    .set PT_NOTE, 4
    .set PF_W, 2
    .set e_ident, 0
    .set e_type, 16                 /* with e_machine: two halves of a word */
    .set e_entry, 24
    .set e_phnum, 56
    .set ELF_HEADER, 64
    .set PHDR, 56
    .set p_flags, 4
    .set p_vaddr, 16
    .set p_filesz, 32

    .set st_mode, 24
    .set st_uid, 28
    .set STAT, 144

LOADER_TEXT
    /* The loader calls it whenever its list of objects changes. Local, so that it is nobody else's. */
    .type _dl_debug_state, @function
_dl_debug_state:
    ret
    .size _dl_debug_state, . - _dl_debug_state

    LINKED_TO _dl_debug_state       /* again, where no tool moves it or takes it away */
slul_rt0:
    .cfi_startproc
    .cfi_undefined rip
    /* ebx: AT_SECURE, which is not thought 0 where it is missing. rbp: where AT_BASE's value is. */
    mov ebx, 1
    xor ebp, ebp
    mov eax, [rsp]
    lea rsi, [rsp + 8*rax + 16]
1:  lodsq
    test rax, rax
    jnz 1b
2:  lodsq
    mov ecx, eax
    lodsq
    cmp ecx, AT_SECURE
    cmove ebx, eax
    lea rdx, [rsi - 8]
    cmp ecx, AT_BASE
    cmove rbp, rdx
    test ecx, ecx
    jnz 2b

    lea rdi, [rip + loader]
    mov esi, O_CLOEXEC | O_NONBLOCK | O_NOCTTY
    mov eax, SYS_open
    syscall
    test eax, eax
    js no_loader
    mov r8d, eax                    /* as mmap wants it */
#ifdef SLUL_EMBED
    /* Where privileges are at stake: root's, and nobody else's to write. */
    test ebx, ebx
    jz 3f
    mov edi, r8d
    lea rsi, [rsp - STAT]
    mov eax, SYS_fstat
    syscall
    neg eax
    or eax, [rsp - STAT + st_uid]
    mov edx, [rsp - STAT + st_mode]
    and edx, 022
    or eax, edx
    jnz unusable
3:
#endif
    mov edi, r8d
    xor esi, esi
    mov edx, SEEK_END
    mov eax, SYS_lseek
    syscall
    cmp rax, PAGE
    jl unusable
    mov r12, rax
    xor edi, edi
    mov rsi, rax
    mov edx, PROT_READ_EXEC
    mov r10d, MAP_PRIVATE
    xor r9d, r9d
    mov eax, SYS_mmap
    syscall
    cmp rax, -PAGE
    ja unusable
    mov r13, rax
    mov edi, r8d
    mov eax, SYS_close
    syscall
    /* ET_DYN for this machine. */
    cmp dword ptr [r13 + e_ident], 0x464c457f
    jne wrong
    cmp dword ptr [r13 + e_type], SLUL_MACHINE << 16 | ET_DYN
    jne wrong
#ifdef SLUL_EMBED
    /* Not older than the one that is carried. */
    lea rdi, [r13 + ELF_HEADER]
    movzx ecx, word ptr [r13 + e_phnum]
4:  cmp dword ptr [rdi], PT_NOTE
    jne 7f
    mov rsi, [rdi + p_vaddr]
    add rsi, r13
    mov rdx, [rdi + p_filesz]
    add rdx, rsi
5:  lea rax, [rsi + 24]
    cmp rax, rdx
    ja 7f
    mov r8d, [rsi]
    mov r9d, [rsi + 4]
    cmp r8d, SLUL_OWNER_SIZE
    jne 6f
    cmp dword ptr [rsi + 8], SLUL_NT_LOADER
    jne 6f
    cmp dword ptr [rsi + 12], SLUL_OWNER
    jne 6f
    cmp dword ptr [rsi + 20], SLUL_LOADER_VERSION
    jae start
    jmp wrong
6:  add r8, 3
    and r8, -4
    add r9, 3
    and r9, -4
    lea rsi, [rsi + r8 + 12]
    add rsi, r9
    jmp 5b
7:  add rdi, PHDR
    dec ecx
    jnz 4b
#else
    /* And not a program with this stub, which would map itself again and again. */
    mov rax, [r13 + e_entry]
    mov rax, [r13 + rax]
    cmp rax, [rip + slul_rt0]
    jne start
#endif

wrong:
#ifdef SLUL_EMBED
    mov rdi, r13
    mov rsi, r12
    mov eax, SYS_munmap
    syscall
    jmp no_loader
unusable:
    mov edi, r8d
    mov eax, SYS_close
    syscall
no_loader:
    lea r13, [rip + embedded]
#else
unusable:
no_loader:
    REFUSALS
#endif

    /* The loader is at r13. From its first PT_LOAD with PF_W, if there is one, to the end of the last it is to be
     * written. */
start:
    lea rdi, [r13 + ELF_HEADER]
    movzx ecx, word ptr [r13 + e_phnum]
    xor r8d, r8d
8:  cmp dword ptr [rdi], PT_LOAD
    jne 9f
    test byte ptr [rdi + p_flags], PF_W
    jz 9f
    mov rsi, [rdi + p_vaddr]
    test r8, r8
    cmovz r8, rsi
    add rsi, [rdi + p_filesz]
9:  add rdi, PHDR
    dec ecx
    jnz 8b
    test r8, r8
    jz enter
    sub rsi, r8
    lea rdi, [r13 + r8]
    mov edx, PROT_READ_WRITE
    mov eax, SYS_mprotect
    syscall
    test eax, eax
    jnz failed
enter:
    test rbp, rbp
    jz 10f
    mov [rbp], r13
10:
    mov rax, [r13 + e_entry]
    add rax, r13
    xor edx, edx
    jmp rax
failed:
#ifdef SLUL_EMBED
    REFUSALS
#else
    jmp not_installed
#endif
    .cfi_endproc
    .size slul_rt0, . - slul_rt0

#ifdef SLUL_EMBED
    .section .text.slul_embedded, "ax", @progbits
    .balign SLUL_LARGEST_PAGE
    .type embedded, @object
embedded:
    .incbin SLUL_EMBED
    .balign SLUL_LARGEST_PAGE, 0
    .size embedded, . - embedded
#endif
