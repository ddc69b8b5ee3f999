// A program that calls a native library.
//# link: -l:libz.so.1
//# rpath: $ORIGIN
#include "libcfree.h"

const char *zlibVersion(void);

PROGRAM
{
    say("program\n");
    CHECK(begins(zlibVersion(), "1."));
    return SUCCESS;
}
