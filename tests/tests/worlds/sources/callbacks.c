/* Native code calls functions of program and library: while it sorts, walks a tree, handles a signal, starts threads. */
#include "prelude.h"
#ifdef IN_libfree
static int calls;
int library_compares(const void *a, const void *b)
{
    calls++;
    return *(const int *)b - *(const int *)a;
}
int library_calls(void)
{
    return calls;
}
/* A library's own native call, back into itself. */
void qsort(void *, unsigned long, unsigned long, int (*)(const void *, const void *));
int library_sorts(int *numbers, unsigned long count)
{
    calls = 0;
    qsort(numbers, count, sizeof *numbers, library_compares);
    return calls > 0;
}
#else
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int library_compares(const void *, const void *);
int library_calls(void);
int library_sorts(int *, unsigned long);

static int depth;
static int compare(const void *a, const void *b)
{
    // Native code in a callback of native code.
    char text[16];
    snprintf(text, sizeof text, "%d", *(const int *)a);
    if (depth++ == 0) {
        int inner[] = {3, 1, 2};
        qsort(inner, 3, sizeof *inner, compare);
        printf("inner %d%d%d\n", inner[0], inner[1], inner[2]);
    }
    return atoi(text) - *(const int *)b;
}
static void visit(const void *node, VISIT which, int level)
{
    if (which == postorder || which == leaf)
        printf("node %d, level %d\n", **(const int *const *)node, level >= 0);
}
static void handler(int signal, siginfo_t *info, void *context)
{
    put("signal", signal + (info && context ? 1000 : 0));
}
static void once(void)
{
    puts("once");
}
static void destroy(void *value)
{
    printf("key %ld\n", (long)value);
}
static pthread_key_t key;
static void *thread(void *number)
{
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    pthread_once(&control, once);
    pthread_setspecific(key, number);
    return (void *)((long)number * 2);
}
static int ends(const void *a, const void *b)
{
    return strcmp(a, *(const char *const *)b);
}

int main(void)
{
    int numbers[] = {5, 3, 9, 1, 7, 2};
    qsort(numbers, 6, sizeof *numbers, compare);
    for (int at = 0; at < 6; at++)
        printf("%d ", numbers[at]);
    int wanted = 7, *found = bsearch(&wanted, numbers, 6, sizeof *numbers, compare);
    printf("found at %ld\n", found ? found - numbers : -1L);
    qsort(numbers, 6, sizeof *numbers, library_compares);
    printf("library %d %d %d\n", numbers[0], numbers[5], library_calls() > 0);
    int others[] = {1, 2, 3};
    printf("library sorts %d %d\n", library_sorts(others, 3), others[0]);
    const char *words[] = {"ant", "bee", "cat"};
    printf("%s\n", *(const char **)bsearch("bee", words, 3, sizeof *words, ends));
    void *root = 0;
    for (int at = 0; at < 6; at++)
        tsearch(&numbers[at], &root, library_compares);
    twalk(root, visit);
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = handler;
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    pthread_key_create(&key, destroy);
    for (long number = 1; number < 4; number++) {
        pthread_t other;
        void *result;
        pthread_create(&other, 0, thread, (void *)number);
        pthread_join(other, &result);
        printf("result %ld\n", (long)result);
    }
    return SUCCESS;
}
#endif
