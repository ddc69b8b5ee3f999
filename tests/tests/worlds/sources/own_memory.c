/* The program's memory functions are not for natives: what a compiler makes calls to must not change under libc. */
#include "prelude.h"
#ifdef IN_libnative
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern int counted;
void native_copies(void)
{
    setvbuf(stdout, 0, _IOFBF, 4096);
    char from[300] = "native's", to[300];
    void *(*volatile copy)(void *, const void *, size_t) = memcpy;
    void *(*volatile move)(void *, const void *, size_t) = memmove;
    void *(*volatile set)(void *, int, size_t) = memset;
    size_t (*volatile measure)(const char *) = strlen;
    int (*volatile compare)(const void *, const void *, size_t) = memcmp;
    copy(to, from, sizeof to);
    move(from, to, sizeof to);
    set(to, 0, sizeof to);
    printf("%zu %d %d\n", measure(from), compare(from, to, 5) != 0, counted);
}
#else
void native_copies(void);
int counted;
#define COUNTED __attribute__((noinline, optimize("no-tree-loop-distribute-patterns")))
COUNTED void *memcpy(void *to, const void *from, unsigned long size)
{
    counted++;
    for (unsigned long at = 0; at < size; at++)
        ((volatile char *)to)[at] = ((const char *)from)[at];
    return to;
}
COUNTED void *memmove(void *to, const void *from, unsigned long size)
{
    return memcpy(to, from, size);
}
COUNTED void *memset(void *to, int value, unsigned long size)
{
    counted++;
    for (unsigned long at = 0; at < size; at++)
        ((volatile char *)to)[at] = (char)value;
    return to;
}
COUNTED int memcmp(const void *a, const void *b, unsigned long size)
{
    counted++;
    for (unsigned long at = 0; at < size; at++)
        if (((const volatile char *)a)[at] != ((const char *)b)[at])
            return 1;
    return 0;
}
COUNTED unsigned long strlen(const char *text)
{
    unsigned long size = 0;
    counted++;
    while (((const volatile char *)text)[size])
        size++;
    return size;
}
void *__tls_get_addr(void *index);
void *__tls_get_addr(void *index)
{
    counted += 1000;
    return index;
}

int main(int argc, char **argv)
{
    char text[100];
    void *(*volatile copy)(void *, const void *, unsigned long) = memcpy;
    copy(text, argv[0], (unsigned long)argc);
    put("own", counted);
    native_copies();
    put("after", counted);
    return SUCCESS;
}
#endif
