/* The allocator is the program's, with counters of each thread; natives and libc use it, in all threads. */
#include "prelude.h"
#ifndef IN_libnative
#include <errno.h>
#endif
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef IN_libnative
int owns(const void *);
static const char *whose(const void *memory)
{
    return owns(memory) ? "program's" : "libc's";
}
static void *volatile kept;
__attribute__((constructor)) static void up(void)
{
    kept = malloc(10);
}
void native_asks(const char *who)
{
    void *aligned = 0, *other = 0;
    char *line = 0;
    printf("%s: constructor %s\n", who, whose(kept));
    void *(*volatile allocate)(size_t) = malloc;
    void *memory = allocate(100);
    printf("malloc %s", whose(memory));
    memory = realloc(memory, 5000);
    printf(", realloc %s", whose(memory));
    free(memory);
    memory = calloc(10, 10);
    printf(", calloc %s %d", whose(memory), ((char *)memory)[99]);
    free(memory);
    printf(", posix_memalign %d %s %lu", posix_memalign(&aligned, 512, 10), whose(aligned), (long)aligned & 511);
    other = aligned_alloc(128, 256);
    printf(", aligned_alloc %s %lu", whose(other), (long)other & 127);
    free(other);
    other = memalign(64, 100);
    printf(", memalign %s\n", whose(other));
    free(other);
    free(aligned);
    memory = strdup("libc's own");
    printf("strdup %s", whose(memory));
    free(memory);
    printf(", asprintf %d %s\n", asprintf(&line, "%0200d", 1), whose(line));
    free(line);
    FILE *file = fopen("/proc/self/status", "r");
    size_t size = 0;
    line = 0;
    printf("getline %d %s\n", getline(&line, &size, file) > 0, whose(line));
    fclose(file);
    free(line);
}
#else
void native_asks(const char *);

static char arena[64 << 20] __attribute__((aligned(4096)));
static unsigned long used;
static __thread long allocated = 1000, freed = 2000;
int owns(const void *);

int owns(const void *memory)
{
    return (const char *)memory >= arena && (const char *)memory < arena + sizeof arena;
}
static void *take(unsigned long align, unsigned long size)
{
    allocated++;
    if (align < 16)
        align = 16;
    unsigned long want = size + align + 16;
    unsigned long place = __atomic_fetch_add(&used, want, __ATOMIC_RELAXED);
    if (place + want > sizeof arena)
        return 0;
    unsigned long address = ((unsigned long)arena + place + 16 + align - 1) & -align;
    ((unsigned long *)address)[-1] = size;
    return (void *)address;
}
void *malloc(size_t size)
{
    return take(16, size);
}
void free(void *memory)
{
    freed += memory != 0;
}
void *calloc(size_t count, size_t size)
{
    return take(16, count * size);
}
void *realloc(void *old, size_t size)
{
    char *memory = take(16, size);
    if (!old || !memory)
        return memory;
    unsigned long have = ((unsigned long *)old)[-1];
    for (unsigned long at = 0; at < have && at < size; at++)
        ((volatile char *)memory)[at] = ((char *)old)[at];
    free(old);
    return memory;
}
void *memalign(size_t align, size_t size)
{
    return take(align, size);
}
void *aligned_alloc(size_t align, size_t size)
{
    return take(align, size);
}
int posix_memalign(void **memory, size_t align, size_t size)
{
    *memory = take(align, size);
    return *memory ? 0 : ENOMEM;
}
static void *thread(void *unused)
{
    printf("thread begins %ld %ld\n", allocated > 1000 ? 1 : allocated, freed);
    long before = allocated, freed_before = freed;
    native_asks("thread");
    printf("thread %ld %ld\n", allocated - before, freed - freed_before);
    return unused;
}

int main(void)
{
    pthread_t other;
    void *memory = malloc(100);
    printf("own %d\n", owns(memory));
    native_asks("main");
    printf("main %d %d\n", allocated > 1000, freed > 2000);
    for (int time = 0; time < 3; time++) {
        pthread_create(&other, 0, thread, 0);
        pthread_join(other, 0);
    }
    return SUCCESS;
}
#endif
