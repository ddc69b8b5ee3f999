// A program that names libc alone, so that its start is deferred, and calls several of its functions. One of the names is the
// loader's own.
//# link: -l:libc.so.6
//# rpath: none
#include "libcfree.h"

long getppid(void);
int abs(int);
void *memcpy(void *, const void *, __SIZE_TYPE__);
char *getenv(const char *);

static volatile __SIZE_TYPE__ size = 8;

PROGRAM
{
    char from[8] = "1234567", to[8];
    say("before\n");
    memcpy(to, from, size);
    CHECK(same(to, from));
    CHECK(getppid() == (long)system_call(110 /* getppid */, 0, 0, 0, 0));
    CHECK(abs(-3) == 3 && same(getenv("GREETING"), "hello"));
    say("after\n");
    return SUCCESS;
}
