// A program with all features of a full start: a library, thread-local storage, initialisers, relocations, a canary.
// `evil` has the library that `secure` must never use.
//# variants: sound secure evil
//# lib: libone.so
//# rpath[sound evil]: $ORIGIN
//# flags[evil]: -DEVIL
//# rpath[secure]: {dir}
//# flags[secure]: -DSECURE
//# setid[secure]: 1
//# needs[secure]: root
//# program: -fstack-protector-all
//# link: {stage}/usr/lib/slul/x86_64/libslulrtld.so
#include "libcfree.h"

extern __thread int one_number;
extern int *one_place;
int one(void);

#ifdef IN_libone
__thread int one_number = 5;
static int ten = 10;
int *one_place = &ten;

__attribute__((constructor)) static void initialise(void)
{
#ifdef EVIL
    say("evil\n");
#else
    say("library\n");
#endif
}

int one(void)
{
    return one_number;
}
#else
static __thread volatile int two = 2;

__attribute__((noinline)) static int sum(volatile char *text)
{
    text[0] = 0;
    return two + one_number + *one_place;
}

PROGRAM
{
    char text[8];
#ifdef SECURE
    CHECK(auxv_value(auxv_after(envp), AT_SECURE) == 1);
#endif
    say("program\n");
    return one() == 5 ? sum(text) : 1;
}
#endif
