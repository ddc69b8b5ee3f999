/* A native library needs a library without libc that the program has as well: there is one of it. */
#include "prelude.h"
#if defined IN_libfree
static int counter;
SAYS_UP_AND_DOWN("library")
int library_counts(void);
int library_counts(void)
{
    return ++counter;
}
#elif defined IN_libnative
#include <stdio.h>
int library_counts(void);
int native_counts(void)
{
    return library_counts();
}
#else
#include <stdio.h>
int library_counts(void), native_counts(void);
int main(void)
{
    int first = library_counts(), second = native_counts(), third = library_counts();
    printf("%d %d %d\n", first, second, third);
    return SUCCESS;
}
#endif
