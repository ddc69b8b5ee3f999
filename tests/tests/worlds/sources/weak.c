/* A weak reference without a definition is 0; a native library's definition is found, for weak references, too. */
#include "prelude.h"
#ifdef IN_libnative
int native_there = 3;
int native_function(void)
{
    return 4;
}
#else
#include <stdio.h>

extern int native_there __attribute__((weak));
extern int nowhere_data __attribute__((weak));
int native_function(void) __attribute__((weak));
void nowhere(void) __attribute__((weak));
static void (*const pointer)(void) = nowhere;
static int *const data = &nowhere_data;

int main(void)
{
    printf("absent %d %d %d %d\n", !nowhere, !&nowhere_data, !pointer, !data);
    printf("present %d %d\n", &native_there ? native_there : -1, native_function ? native_function() : -1);
    if (nowhere)
        nowhere();
    return SUCCESS;
}
#endif
