/* Exceptions pass through the frames of program and library, which have unwind tables; stacks are walked through them. */
#include "prelude.h"
void native_throw(int), native_end(int), native_backtrace(void *, void *), native_walk(void *), native_thread(void (*)(int));
int native_catch(void (*)(int), int);

#if defined IN_libfree || !(defined LINKED || defined OPENED)
/* Frames that take part: not inlined, not left by a tail call. */
#define FRAME __attribute__((noinline, noipa, optimize("no-optimize-sibling-calls")))
#define STAY __asm__ volatile("" ::: "memory")

static FRAME void throws(int value)
{
    volatile char room[64];
    room[0] = (char)value;
    native_throw(value);
    STAY;
    room[1] = room[0];
}
static FRAME void ends(int value)
{
    native_end(value);
    STAY;
}
static FRAME void traces(int value)
{
    native_backtrace((void *)traces, (void *)traces);
    STAY;
    native_walk((void *)traces);
    STAY;
    (void)value;
}
static FRAME int all(void)
{
    int result = native_catch(throws, 5);
    result += native_catch(throws, 0);
    native_catch(traces, 1);
    native_thread(ends);
    return result;
}
#endif
#if defined IN_libfree
FRAME int library_all(void);
FRAME int library_all(void)
{
    return all();
}
#else
#include <stdio.h>
int library_all(void);

int main(void)
{
#ifdef OPENED
    void *handle = world_open("libfree.so", 2);
    if (!handle)
        puts(world_error());
    int result = handle ? ((int (*)(void))world_find(handle, "library_all"))() : -100;
#elif defined LINKED
    int result = library_all();
#else
    int result = all();
#endif
    printf("result %d\n", result);
    native_backtrace((void *)main, (void *)main);
    return SUCCESS;
}
#endif
