/* The least an interpreter can do: find AT_ENTRY and jump there. The plain start is counted against it. */
    .globl  _start
_start:
    mov     (%rsp), %rcx            /* argc */
    lea     16(%rsp, %rcx, 8), %rsi /* envp */
1:  lodsq
    test    %rax, %rax
    jnz     1b
2:  lodsq                           /* a_type */
    mov     %rax, %rdx
    lodsq                           /* a_val */
    cmp     $9, %rdx                /* AT_ENTRY */
    jne     2b
    jmp     *%rax

    .section .note.GNU-stack, "", @progbits
