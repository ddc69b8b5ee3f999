/* A native constructor calls a function of the program that calls native ones, starts a thread, and reads what the block
   has; a library's constructor and destructor call native functions, too. */
#include "prelude.h"
#ifdef IN_libfree
int printf(const char *, ...);
int atexit_like(void (*)(void *), void *);
int __cxa_atexit(void (*)(void *), void *, void *);
static void handler(void *what)
{
    printf("library's handler %s\n", (const char *)what);
}
__attribute__((constructor)) static void up(void)
{
    printf("library up\n");
#ifndef WAITS
    __cxa_atexit(handler, "one", 0);
#endif
    (void)handler;
}
__attribute__((destructor)) static void down(void)
{
    printf("library down\n");
}
int library_number(void)
{
    return 1;
}
#else
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef IN_libnative
int program_speaks(const char *);
static void *thread(void *unused)
{
    program_speaks("from its thread");
    return unused;
}
#ifdef MUSL
__attribute__((constructor)) static void up(void)
{
#else
__attribute__((constructor)) static void up(int argc, char **argv, char **envp)
{
    printf("native up %d %s %s\n", argc, argv[1], envp[0]);
#endif
    pthread_t other;
    setvbuf(stdout, 0, _IOFBF, 4096);
    program_speaks("from native constructor");
#ifdef WAITS
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
#endif
    (void)thread, (void)other;
}
int native_number(void)
{
    return 2;
}
#else
int library_number(void), native_number(void);
static int calls;
int program_speaks(const char *where)
{
    char *text = strdup(where);
    printf("program speaks %s %zu\n", text, strlen(text));
    free(text);
    return calls++;
}
__attribute__((constructor)) static void up(void)
{
    printf("program up\n");
}
__attribute__((destructor)) static void down(void)
{
    printf("program down\n");
}
int main(int argc, char **argv)
{
    printf("program %d %s %d\n", argc, argv[1], native_number() + library_number() + calls);
    return SUCCESS;
}
#endif
#endif
