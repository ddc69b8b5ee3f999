/* Ways to leave, from several places, and all that is to be run and written then. Raw lines are written at once; stdio's
   are held back, from the first on, which musl does only when it is told to. */
#include "prelude.h"

/* Ways. */
#define RETURN 1
#define WORLD_EXIT 2
#define EXIT 3
#define QUICK_EXIT 4
#define _EXIT_ 5
#define ABORT 6
#define PTHREAD_EXIT 7
#define TERMINATED 8
#define CRASH 9
#define EXIT_GROUP 10
#define FORK 11
/* Places. */
#define MAIN 1
#define OWN_THREAD 2
#define NATIVE_THREAD 3
#define QSORT 4
#define NATIVE_CALLBACK 5
#define PROGRAM_CONSTRUCTOR 6
#define LIBRARY_CONSTRUCTOR 7
#define NATIVE_CONSTRUCTOR 8
#define PROGRAM_DESTRUCTOR 9

#ifdef IN_libfree
void exit(int);
__attribute__((constructor)) static void up(void)
{
    say("library up\n");
#if PLACE == LIBRARY_CONSTRUCTOR
    exit(4);
#endif
}
__attribute__((destructor)) static void down(void)
{
    say("library down\n");
}
int library_number(void)
{
    return 1;
}
#else
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef IN_libnative
#ifdef RAW
#define puts(text) say(text "\n")
#endif
static void handler(void)
{
    puts("native atexit");
}
static void quick_handler(void)
{
    say("native at_quick_exit\n");
}
__attribute__((constructor)) static void up(void)
{
    setvbuf(stdout, 0, _IOFBF, 4096);
    puts("native up");
    atexit(handler);
    at_quick_exit(quick_handler);
#if PLACE == NATIVE_CONSTRUCTOR
    exit(5);
#endif
}
__attribute__((destructor)) static void down(void)
{
    puts("native down");
}
void native_call(void (*function)(void))
{
    puts("native called");
    if (function)
        function();
}
static void *native_thread(void *function)
{
    puts("native thread");
    ((void (*)(void))function)();
    return 0;
}
void native_start(void (*function)(void))
{
    pthread_t thread;
    pthread_create(&thread, 0, native_thread, (void *)function);
    pthread_join(thread, 0);
}
#else
void native_call(void (*)(void));
void native_start(void (*)(void));
#if PLACE == NATIVE_CONSTRUCTOR
static int library_number(void)
{
    return 1;
}
#else
int library_number(void);
#endif

static void *lingers(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, 0);
    usleep(20000);
    puts("the last thread");
    return 0;
}

static __attribute__((unused)) void leave(void)
{
    puts("leaves");
#if WAY == WORLD_EXIT
    world_exit(SUCCESS);
#elif WAY == EXIT || WAY == RETURN
    exit(SUCCESS);
#elif WAY == QUICK_EXIT
    quick_exit(SUCCESS);
#elif WAY == _EXIT_
    _exit(SUCCESS);
#elif WAY == EXIT_GROUP
    raw_call(231, SUCCESS, 0, 0, 0);
#elif WAY == ABORT
    abort();
#elif WAY == TERMINATED
    kill(getpid(), SIGTERM);
#elif WAY == CRASH
    static volatile unsigned long nowhere = 8;
    *(volatile int *)nowhere = 1;
#elif WAY == PTHREAD_EXIT
    static pthread_t main_thread, thread;
    main_thread = pthread_self();
    pthread_create(&thread, 0, lingers, &main_thread);
    pthread_exit(0);
#elif WAY == FORK
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        exit(3);
    CHECK(waitpid(child, &status, 0) == child);
    put("child", status);
    exit(SUCCESS);
#endif
    (void)lingers;
}

static __attribute__((unused)) int compare(const void *a, const void *b)
{
    leave();
    return a > b;
}

static __attribute__((unused)) void *own_thread(void *argument)
{
    leave();
    return argument;
}

static void first(void)
{
    puts("atexit first");
}
static void second(void)
{
    puts("atexit second");
}
static void quick(void)
{
    say("at_quick_exit\n");
}

__attribute__((constructor)) static void up(void)
{
    say("program up\n");
#if PLACE == PROGRAM_CONSTRUCTOR
    native_call(0);
    atexit(first);
    leave();
#endif
}

__attribute__((destructor)) static void down(void)
{
    say("program down\n");
#ifndef SILENT
    puts("program's last words");
#endif
#if PLACE == PROGRAM_DESTRUCTOR
    native_call(0);
    _exit(SUCCESS + library_number());
#endif
}

int main(int argc, char **argv)
{
    (void)argv;
    say("program\n");
#if WAY == ABORT || WAY == CRASH
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
#endif
#ifndef SILENT
    native_call(0);
    atexit(first);
    atexit(second);
    at_quick_exit(quick);
#endif
#if PLACE == OWN_THREAD
    pthread_t thread;
    pthread_create(&thread, 0, own_thread, 0);
    pthread_join(thread, 0);
#elif PLACE == NATIVE_THREAD
    native_start(leave);
#elif PLACE == QSORT
    int numbers[] = {2, 1};
    qsort(numbers, 2, sizeof *numbers, compare);
#elif PLACE == NATIVE_CALLBACK
    native_call(leave);
#elif PLACE == MAIN && WAY != RETURN
    leave();
#endif
    (void)first, (void)second, (void)quick;
    return SUCCESS - argc + library_number();
}
#endif
#endif
