// A program that needs musl by a name of its own.
//# stub: libmusl.so -nostdlib -Wl,-soname,libc.musl-x86_64.so.1
//# rpath: none
#include "libcfree.h"

#ifdef IN_libmusl
int abs(int number)
{
    return number;
}
#else
int abs(int);

static volatile int three = -3;

PROGRAM
{
    say("before\n");
    CHECK(abs(three) == 3);
    say("after\n");
    return SUCCESS;
}
#endif
