// The library is named by a path.
//# lib: libone.so -Wl,-soname,$ORIGIN/libone.so
//# rpath: none
#include "libcfree.h"

int one(void);

#ifdef IN_libone
int one(void)
{
    return SUCCESS;
}
#else
PROGRAM
{
    return one();
}
#endif
