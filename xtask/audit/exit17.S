/* The least a program can do. */
    .globl  _start
_start:
    mov     $231, %eax              /* exit_group */
    mov     $17, %edi
    syscall

    .section .note.GNU-stack, "", @progbits
