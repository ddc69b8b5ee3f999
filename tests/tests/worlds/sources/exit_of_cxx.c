/* Leaves with C++ objects alive: of a native library, of its threads. */
#include "prelude.h"
#include <stdio.h>
#include <stdlib.h>

void native_use(void (*function)(void));

static void handler(void)
{
    puts("handler");
}

static void called(void)
{
    puts("called");
    atexit(handler);
}

__attribute__((destructor)) static void down(void)
{
    puts("program down");
}

int main(void)
{
    native_use(called);
#ifdef EXIT
    exit(SUCCESS);
#elif defined QUICK_EXIT
    fflush(stdout);
    quick_exit(SUCCESS);
#endif
    return SUCCESS;
}
