// A library for which there is no room where memory is short.
//# variants: ordinary secure
//# setid[secure]: 1
//# needs[secure]: root
//# lib: libone.so
//# rpath: {dir}
#include "libcfree.h"

char *one(void);

#ifdef IN_libone
static char room[1UL << 30];

char *one(void)
{
    return room;
}
#else
PROGRAM
{
    say("program\n");
    return one()[argc] == 0 ? SUCCESS : 1;
}
#endif
