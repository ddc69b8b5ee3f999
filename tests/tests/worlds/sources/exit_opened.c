/* The constructor of a library that is opened leaves. */
#include "prelude.h"
#if defined IN_libfree
void exit(int);
__attribute__((constructor)) static void up(void)
{
    say("library up\n");
#ifdef LIBRARY
    exit(6);
#endif
}
__attribute__((destructor)) static void down(void)
{
    say("library down\n");
}
#else
#include <stdio.h>
#include <stdlib.h>
#if defined IN_libnative
static void handler(void)
{
    puts("native atexit");
}
__attribute__((constructor)) static void up(void)
{
    puts("native up");
    atexit(handler);
#ifndef LIBRARY
    exit(7);
#endif
}
__attribute__((destructor)) static void down(void)
{
    puts("native down");
}
#else
static void handler(void)
{
    puts("handler");
}
__attribute__((destructor)) static void down(void)
{
    puts("program down");
}
int main(void)
{
    setvbuf(stdout, 0, _IOFBF, 4096);
    atexit(handler);
    puts("program");
    put("library", world_open("libfree.so", 2) != 0);
    put("native", world_open("libnative.so", 2) != 0);
    return SUCCESS;
}
#endif
#endif
