# The template as a file, `/usr/libexec/slul/libc-bogomapping-template-executable-x86_64`.
#
# ld.so gets a template that is made in memory, for each program. This file is mapped beside it once libc is there, so
# that its path is in the list of mappings and in core files, and debuggers find the name of a backtrace's last frame in
# a file. Nothing in it is called.

    .text

# As the one in the loader (rtld/src/bin/slulrtld/cpu/x86_64/enter.rs), which serves where this file is missing: nobody has
# called it, so backtraces end here, after the first instruction.
    .globl __notice__libc_bogomapped_by_slul
    .type __notice__libc_bogomapped_by_slul, @function
__notice__libc_bogomapped_by_slul:
    .cfi_startproc
    .cfi_undefined rip
    nop
    ud2
    .cfi_endproc
    .size __notice__libc_bogomapped_by_slul, . - __notice__libc_bogomapped_by_slul

# If the file is executed, it prints a line about itself.
    .globl _start
    .hidden _start
    .type _start, @function
_start:
    .cfi_startproc
    .cfi_undefined rip
    mov $1, %eax                # write
    mov $2, %edi
    lea line(%rip), %rsi
    mov $(line_end - line), %edx
    syscall
    mov $231, %eax              # exit_group
    mov $127, %edi
    syscall
    ud2
    .cfi_endproc
    .size _start, . - _start

    .section .rodata
line:
    .ascii "slulrtld: libc-bogomapping-template-executable-x86_64: not a program: the loader maps it where it has brought libc in\n"
line_end:

    .section .note.GNU-stack, "", @progbits
