/* Two versions of a function in one program: each behaves as its version does. realpath@GLIBC_2.2.5 refuses to allocate,
   and pthread_cond_signal@GLIBC_2.2.5 puts a pointer into a condition that was zero. */
#include "prelude.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *old_realpath(const char *, char *);
void *old_memcpy(void *, const void *, size_t);
void *new_memcpy(void *, const void *, size_t);
int old_signal(void *);
int new_signal(pthread_cond_t *);
__asm__(".symver old_realpath, realpath@GLIBC_2.2.5");
__asm__(".symver old_memcpy, memcpy@GLIBC_2.2.5");
__asm__(".symver new_memcpy, memcpy@GLIBC_2.14");
__asm__(".symver old_signal, pthread_cond_signal@GLIBC_2.2.5");
__asm__(".symver new_signal, pthread_cond_signal@GLIBC_2.3.2");

static long sum(const void *memory, size_t size)
{
    long total = 0;
    for (size_t at = 0; at < size; at++)
        total += ((const unsigned char *)memory)[at];
    return total;
}

static char *(*const table[])(const char *, char *) = {realpath, old_realpath};

int main(void)
{
    char text[16];
    errno = 0;
    char *path = old_realpath("/", 0);
    printf("old %d %d\n", path != 0, errno == EINVAL);
    path = realpath("/", 0);
    printf("new %s\n", path ? path : "none");
    path = table[0]("/", 0);
    printf("pointers %d %d\n", path != 0, table[1]("/", 0) != 0);
    printf("%s", (char *)old_memcpy(text, "by 2.2.5\n", 10));
    printf("%s", (char *)new_memcpy(text, "by 2.14\n", 9));
    static pthread_cond_t new_one = PTHREAD_COND_INITIALIZER;
    static long old_one[8];
    old_signal(old_one);
    new_signal(&new_one);
    printf("old condition %d\nnew condition %ld\n", old_one[0] != 0, sum(&new_one, sizeof new_one));
    return SUCCESS;
}
