/* Cost of a call of a bound native function in picoseconds. Compiled as an ordinary executable, and with
 * -DLIBC_FREE as a program without libc; with -fno-plt it calls through the GOT. With -DLIBRARY, the callee. */
#ifdef LIBRARY
int native_nothing(int value)
{
    return value;
}
#else
#include <stdio.h>
#include <time.h>

int native_nothing(int);

enum { CALLS = 2000000, BATCHES = 9 };

static long batch(void)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int number = 0; number < CALLS; number++)
        native_nothing(number);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - begin.tv_sec) * 1000000000 + (end.tv_nsec - begin.tv_nsec);
}

/* The least of a few: what else the machine does only adds. */
static int measure(void)
{
    long least = batch();
    for (int number = 1; number < BATCHES; number++) {
        long time = batch();
        least = time < least ? time : least;
    }
    return printf("%ld\n", least * 1000 / CALLS) < 0;
}

#ifdef LIBC_FREE
#include <slul.h>
SLUL_ABI_NOTE(SLUL_CALL_ENTRY)

int _start(int argc, char **argv, char **envp, const void *auxv)
{
    (void)argc, (void)argv, (void)envp, (void)auxv;
    return measure();
}
#else
int main(void)
{
    return measure();
}
#endif
#endif
