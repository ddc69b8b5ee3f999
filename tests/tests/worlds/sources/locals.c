/* Thread-local variables of program and library: their values, places and alignment, in threads of every maker. */
#include "prelude.h"
#ifndef ALIGN
#define ALIGN 64
#endif
#ifdef IN_libfree
__thread int library_initial = 11;
__thread int library_zeroed;
__thread char library_aligned[40] __attribute__((aligned(ALIGN))) = "aligned";
static __thread long own[4] = {1, 2, 3, 4};
int library_looks(void)
{
    return (int)(own[0]++ + own[3]++) + library_initial++ + library_zeroed++;
}
#else
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef IN_libnative
#ifdef BIG
static __thread char big[100 << 10] = "big";
static __thread char more[4096];
#endif
static __thread int native_initial = 77;
static int (*called)(int);
static void *thread(void *number)
{
    int *place = &native_initial;
    int result = called((int)(long)number);
#ifdef BIG
    result += big[1] + more[4095];
    big[1]++;
#endif
    return (void *)(long)(result + (*place)++);
}
#ifdef EARLY
/* A thread that is there before the program is: the program's variables are, too. */
int program_looks(int);
static int early = -1;
__attribute__((constructor)) static void up(void)
{
    pthread_t other;
    void *result;
    called = program_looks;
    pthread_create(&other, 0, thread, (void *)5);
    pthread_join(other, &result);
    early = (int)(long)result;
}
int native_early(void)
{
    return early;
}
#endif
int native_threads(int (*function)(int), int count)
{
    int total = 0;
    called = function;
    for (int number = 0; number < count; number++) {
        pthread_t other;
        void *result;
        pthread_create(&other, 0, thread, (void *)(long)number);
        pthread_join(other, &result);
        total += (int)(long)result;
    }
    return total;
}
#else
extern __thread int library_initial, library_zeroed;
extern __thread char library_aligned[40];
int library_looks(void);
int native_threads(int (*)(int), int);
int native_early(void);
int program_looks(int);

static __thread int initial = 5;
static __thread int zeroed;
static __thread char aligned[100] __attribute__((aligned(ALIGN))) = "program";
static __thread struct {
    short a;
    double b;
} mixed = {3, 1.5};

static int misaligned(const void *place)
{
    return (int)((unsigned long)place & (ALIGN - 1));
}

int program_looks(int number)
{
    int result = initial++ + zeroed++ + library_looks() + library_initial + library_zeroed + mixed.a + (int)(mixed.b * 2);
    result += 1000 * (misaligned(aligned) + misaligned(library_aligned));
    result += 100000 * (strcmp(aligned, "program") != 0 || strcmp(library_aligned, "aligned") != 0);
    aligned[0] = library_aligned[0] = 'x';
    mixed.b++;
    return result + number;
}

static void *own_thread(void *ready)
{
    int *place = &initial;
    int first = program_looks(0);
    pthread_barrier_wait(ready);
    usleep(1000);
    return (void *)(long)(first * 1000 + program_looks(1) % 1000 + (place == &initial));
}

int main(void)
{
    volatile int *places[] = {&initial, &zeroed, &library_initial, &library_zeroed, (int *)aligned, (int *)library_aligned};
    initial = 50;
    library_initial = 110;
    put("before", program_looks(0) % 1000);
    printf("first call\n");
    put("after", program_looks(0) % 1000);
    volatile int *now[] = {&initial, &zeroed, &library_initial, &library_zeroed, (int *)aligned, (int *)library_aligned};
    put("places moved", memcmp(places, now, sizeof now) != 0);
    put("misaligned", misaligned(aligned) + misaligned(library_aligned));
    *places[0] += 7;
    printf("through old pointer %d\n", initial);
    pthread_t others[4];
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, 0, 4);
    for (int at = 0; at < 4; at++)
        pthread_create(&others[at], 0, own_thread, &ready);
    for (int at = 0; at < 4; at++) {
        void *result;
        pthread_join(others[at], &result);
        printf("thread %ld\n", (long)result);
    }
    printf("native threads %d\n", native_threads(program_looks, 3));
    printf("again %d\n", program_looks(0) % 1000);
#ifdef EARLY
    printf("early %d\n", native_early());
#endif
    return SUCCESS;
}
#endif
#endif
