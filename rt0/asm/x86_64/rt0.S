/* rt0.o: executes the installed loader in the program's place, and hands the program's file over to it.
 * SPDX-License-Identifier: 0BSD OR MIT OR Apache-2.0
 */
#include "common.h"

    .section .note.slul, "a", @note
    LINKED_TO
    .section .text.slul_rt0

LOADER_TEXT
itself:
    .asciz "/proc/self/exe"
unreadable:
    .ascii "slulrtld: own file not readable: use rt0-map.o\n"
    .set UNREADABLE, . - unreadable
privileged:
    .ascii "slulrtld: file capabilities would be lost: use rt0-map.o\n"
    .set PRIVILEGED, . - privileged

    LINKED_TO                       /* again, where no tool moves it or takes it away */
slul_rt0:
    .cfi_startproc
    .cfi_undefined rip
    /* ebx: AT_SECURE, which is not thought 0 where it is missing. rbp: AT_EXECFN. r8: envp. r9 and r10: what the real and
       the effective id of user and group differ in. */
    mov ebx, 1
    xor ebp, ebp
    xor r9d, r9d
    xor r10d, r10d
    mov eax, [rsp]
    lea r8, [rsp + 8*rax + 16]
    mov rsi, r8
1:  lodsq
    test rax, rax
    jnz 1b
2:  lodsq
    mov ecx, eax
    lodsq
    cmp ecx, AT_SECURE
    cmove ebx, eax
    cmp ecx, AT_EXECFN
    cmove rbp, rax
    lea edx, [rcx - AT_UID]         /* AT_UID, AT_EUID, AT_GID, AT_EGID */
    cmp edx, 4
    jae 4f
    test dl, 2
    jnz 3f
    xor r9d, eax
    jmp 4f
3:  xor r10d, eax
4:  test ecx, ecx
    jnz 2b

    /* Privileges without an id are capabilities of the file, and would be lost. */
    lea rsi, [rip + privileged]
    lea edx, [rcx + PRIVILEGED]     /* AT_NULL is 0 */
    test ebx, ebx
    jz 5f
    or r9d, r10d
    jz refuse

    /* What is executed as the loader executes no loader: somebody has put a program with this stub there. */
5:  test rbp, rbp
    jz 9f
    mov rsi, rbp
    lea rdi, [rip + loader]
    mov cl, LOADER_SIZE
    repe cmpsb
    je not_installed

    /* Stays open through the exec. */
9:  lea rdi, [rip + itself]
    mov esi, O_NONBLOCK | O_NOCTTY
    mov eax, SYS_open
    syscall
    test eax, eax
    jns 6f
    /* Without /proc: the path, which is for the caller to choose, and so not where privileges are at stake. */
    sub eax, -ENOENT
    or eax, ebx
    jnz 8f
    mov rdi, rbp
    mov al, SYS_open
    syscall
    test eax, eax
    js 8f

    /* The marker: the lowest digit is the last. */
6:  xor edx, edx
    mov cl, SLUL_MARK_DIGITS
7:  mov edi, eax
    and edi, 15
    lea esi, [rdi + '0']
    lea edi, [rdi + 'a' - 10]
    cmp sil, '9'
    cmova esi, edi
    shl rdx, 8
    or rdx, rsi
    shr eax, 4
    dec cl
    jnz 7b
    test eax, eax
    jnz 8f
    shl rdx, 8
    or rdx, SLUL_MARK

    /* Its pointer takes argc's place, before argv, and its text that of the word below. */
    lea rax, [rsp - 8]
    movq xmm0, rdx
    movq xmm1, rax
    punpcklqdq xmm0, xmm1
    movups [rax], xmm0
    lea rdi, [rip + loader]
    mov rsi, rsp
    mov rdx, r8
    mov eax, SYS_execve
    syscall

    REFUSALS
8:  lea rsi, [rip + unreadable]
    mov edx, UNREADABLE
    jmp refuse
    .cfi_endproc
    .size slul_rt0, . - slul_rt0
