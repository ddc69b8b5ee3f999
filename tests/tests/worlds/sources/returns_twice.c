/* Functions that come back otherwise than they were called, each as the program's first native call. */
#include "prelude.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef CONTEXT
#include <ucontext.h>
#endif

static jmp_buf back;
static __attribute__((unused)) int compare(const void *a, const void *b)
{
    longjmp(back, *(const int *)a + *(const int *)b);
}

int main(void)
{
    volatile int rounds = 0, kept = 5;
#if defined SETJMP
    int result = setjmp(back);
    put("setjmp", result);
    if (rounds++ < 3) {
        kept++;
        int numbers[] = {4, 3};
        qsort(numbers, 2, sizeof *numbers, compare);
    }
#elif defined SIGSETJMP
    static sigjmp_buf here;
    int result = sigsetjmp(here, 1);
    put("sigsetjmp", result);
    if (rounds++ < 3)
        siglongjmp(here, rounds + kept);
#elif defined VFORK
    int status = 0;
    pid_t child = vfork();
    if (child == 0) {
        kept++;
        _exit(3);
    }
    put("child", waitpid(child, &status, 0) == child ? status : -1);
#elif defined CONTEXT
    static ucontext_t here;
    getcontext(&here);
    put("context", rounds);
    if (rounds++ < 3)
        setcontext(&here);
#elif defined FORK
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        puts("in child");
        exit(4);
    }
    put("child", waitpid(child, &status, 0) == child ? status : -1);
#endif
    printf("%d %d\n", rounds, kept);
    (void)back;
    return SUCCESS;
}
