/* A timer every 50 microseconds, whose handler counts in thread-local variables, while libc comes, libraries are opened
   and threads come and go; the allocator is the program's, and counts in thread-local variables as well. */
#include "prelude.h"
#ifdef IN_libnative
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void (*at_end)(void);
static void *thread(void *unused)
{
    for (int time = 0; time < 300; time++) {
        char *text = malloc((size_t)time + 1), number[20];
        memset(text, 1, (size_t)time + 1);
        snprintf(number, sizeof number, "%d", time);
        free(strdup(number));
        free(text);
    }
    at_end();
    return unused;
}
void native_work(void (*report)(void))
{
    pthread_t threads[3];
    at_end = report;
    for (int at = 0; at < 3; at++)
        pthread_create(&threads[at], 0, thread, 0);
    for (int at = 0; at < 3; at++)
        pthread_join(threads[at], 0);
}
#else
#include <stddef.h>
#include <sys/syscall.h>

static long ticks, calls, ticks_of_threads, calls_of_threads;
static __thread long own_ticks = 1000, own_calls = 2000;
static __thread char filler[777];

static void handler(int signal)
{
    __atomic_fetch_add(&ticks, 1, __ATOMIC_RELAXED);
    own_ticks++;
    filler[own_ticks % 777] = (char)signal;
}
__asm__("restorer: mov $15, %eax\n syscall\n");
void restorer(void) __attribute__((visibility("hidden")));

static char arena[256 << 20] __attribute__((aligned(4096)));
static unsigned long used;
static void *take(unsigned long align, unsigned long size)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    own_calls++;
    if (align < 16)
        align = 16;
    unsigned long want = size + align + 16;
    unsigned long place = __atomic_fetch_add(&used, want, __ATOMIC_RELAXED);
    CHECK(place + want <= sizeof arena);
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
    (void)memory;
}
void *calloc(size_t count, size_t size)
{
    return take(16, count * size);
}
void *realloc(void *old, size_t size)
{
    char *memory = take(16, size);
    for (unsigned long at = 0; old && at < ((unsigned long *)old)[-1] && at < size; at++)
        ((volatile char *)memory)[at] = ((char *)old)[at];
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
    return 0;
}

/* What the calling thread has counted; from now on it gets no signals. */
static void report(void)
{
    unsigned long all = ~0UL;
    CHECK(raw_call(SYS_rt_sigprocmask, 0, (long)&all, 0, 8) == 0);
    __atomic_fetch_add(&ticks_of_threads, own_ticks - 1000, __ATOMIC_RELAXED);
    __atomic_fetch_add(&calls_of_threads, own_calls - 2000, __ATOMIC_RELAXED);
}

static void wait_for(long more)
{
    for (long start = __atomic_load_n(&ticks, __ATOMIC_RELAXED); __atomic_load_n(&ticks, __ATOMIC_RELAXED) < start + more;)
        ;
}

int main(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
    } action = {handler, 0x14000000, restorer, 0};
    struct {
        long interval_s, interval_us, s, us;
    } timer = {0, 50, 0, 50}, none = {0, 0, 0, 0};
    CHECK(raw_call(SYS_rt_sigaction, 14, (long)&action, 0, 8) == 0);
    CHECK(raw_call(SYS_setitimer, 0, (long)&timer, 0, 0) == 0);
    wait_for(5);
#ifndef OPENS_ALONE
    put("load", world_load_libc());
#endif
    wait_for(5);
    for (int time = 0; time < 3; time++) {
        void *native = world_open("libnative.so", 2);
        if (!native) {
            say(world_error());
            return 1;
        }
        void (*work)(void (*)(void)) = (void (*)(void (*)(void)))world_find(native, "native_work");
        work(report);
        wait_for(2);
        put("closed", world_close(native));
    }
    wait_for(5);
    CHECK(raw_call(SYS_setitimer, 0, (long)&none, 0, 0) == 0);
    report();
    put("signals lost", ticks - ticks_of_threads);
    put("allocations lost", calls - calls_of_threads);
    put("allocations", calls > 1800);
    return SUCCESS;
}
#endif
