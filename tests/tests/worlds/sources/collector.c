/* A garbage collector (libgc) finds its roots by dl_iterate_phdr: what only a variable of the program, of a library of the start
   or of an opened one points to, lives; what nothing points to goes. */
#include "prelude.h"
#if defined IN_libheld || defined IN_liblate
static void *volatile zeros[8];
void keep(void *object)
{
    zeros[5] = object;
}
void *kept(void)
{
    return zeros[5];
}
#else
#include <gc.h>
#include <stdio.h>
void keep(void *object);
static void *volatile zeros[8], *volatile data[4] = {(void *)1};
static int dead[5];

static void dies(void *object, void *number)
{
    (void)object;
    dead[(long)number]++;
}

static __attribute__((noinline)) void *make(long number)
{
    void *object = GC_malloc(100);
    GC_register_finalizer(object, dies, (void *)number, 0, 0);
    return object;
}

static __attribute__((noinline)) void make_all(void (*keep_late)(void *))
{
    zeros[5] = make(0);
    data[2] = make(1);
    keep(make(2));
    keep_late(make(3));
    for (int i = 0; i < 100; i++)
        make(4);
}

static __attribute__((noinline)) void scrub(void)
{
    volatile char stack[20000];
    for (unsigned i = 0; i < sizeof stack; i++)
        stack[i] = 0;
}

int main(void)
{
    void *late = world_open("./liblate.so", 2);
    GC_init();
    make_all((void (*)(void *))world_find(late, "keep"));
    for (int i = 0; i < 5; i++) {
        scrub();
        GC_gcollect();
        for (int j = 0; j < 500; j++)
            GC_malloc(1000);
        GC_invoke_finalizers();
    }
    printf("died: %d %d %d %d, and of the rest %s\n", dead[0], dead[1], dead[2], dead[3], dead[4] > 50 ? "most" : "few");
    return SUCCESS;
}
#endif
