/* How glibc and musl start the program, as their own crt1.o does: initialisers of the program, with musl those of
   libraries too, and finalisers are the business of libc, which its loader brings along for this. */
#include "prelude.h"

int __libc_start_main(int (*main)(void), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void *stack_end);

KERNEL_PROGRAM(start)
{
    __libc_start_main(t_main, (int)*sp, (char **)(sp + 1), 0, 0, finaliser, sp);
    failed("main returned\n");
}
