// A program whose library is found behind all that the environment names.
//# lib: libone.so
//# rpath: {dir}
#include "libcfree.h"

int one(void);

#ifdef IN_libone
__attribute__((constructor)) static void initialise(void)
{
    say("library\n");
}

int one(void)
{
    return SUCCESS;
}
#else
PROGRAM
{
    say("program\n");
    return one();
}
#endif
