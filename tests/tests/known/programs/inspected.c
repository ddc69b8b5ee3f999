// A library for inspection: its initialiser and its resolver would print a line if they ran.
//# lib: libone.so
//# rpath: $ORIGIN
#include "libcfree.h"

int one(void);

#ifdef IN_libone
__attribute__((constructor)) static void initialise(void)
{
    say("initialised\n");
}

static int chosen(void)
{
    return SUCCESS;
}

static int (*choose(void))(void)
{
    say("resolved\n");
    return chosen;
}

int one(void) __attribute__((ifunc("choose")));
#else
PROGRAM
{
    say("program\n");
    return one();
}
#endif
