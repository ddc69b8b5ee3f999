/* Threads with the smallest stack that libc allows, and with one that the program brings. */
#include "prelude.h"
#include <limits.h>
#include <pthread.h>
#include <stdio.h>

static __thread char own[100] = "own";
static char stack[1 << 17] __attribute__((aligned(4096)));
static void *thread(void *place)
{
    int near = 0;
    *(long *)place = (char *)&near >= stack && (char *)&near < stack + sizeof stack;
    return (void *)(long)own[0]++;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t other;
    long inside = -1;
    void *result = 0;
    pthread_attr_init(&attributes);
    printf("size %d\n", pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN));
    int error = pthread_create(&other, &attributes, thread, &inside);
    printf("created %d\n", error);
    if (!error) {
        pthread_join(other, &result);
        printf("result %ld %ld\n", (long)result, inside);
    }
    printf("place %d\n", pthread_attr_setstack(&attributes, stack, sizeof stack));
    error = pthread_create(&other, &attributes, thread, &inside);
    printf("created %d\n", error);
    if (!error) {
        pthread_join(other, &result);
        printf("result %ld %ld\n", (long)result, inside);
    }
#ifdef OPENS
    printf("libc %d\n", world_open((char *)0, 2) != 0);
#endif
    return SUCCESS;
}
