/* A library that calls libc is closed: its destructors run, and the handlers that it has given to libc for its own end; the
   native library that it alone needs goes after it. Both worlds count what comes and goes. */
#include "prelude.h"
#include <stdio.h>
#if defined IN_libnative
__attribute__((constructor)) static void up(void)
{
    printf("native up\n");
    fflush(stdout);
}
__attribute__((destructor)) static void down(void)
{
    printf("native down\n");
    fflush(stdout);
}
int native_number(void)
{
    return 7;
}
#elif defined IN_liboutside
extern int native_number(void);
int __cxa_atexit(void (*)(void *), void *, void *);
void __cxa_finalize(void *);
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;
static void at_exit(void *number)
{
    printf("handler %d\n", *(int *)number);
    fflush(stdout);
}
static int numbers[2] = {1, 2};
__attribute__((constructor)) static void up(void)
{
    printf("outside up %d\n", native_number());
    fflush(stdout);
    __cxa_atexit(at_exit, &numbers[0], &__dso_handle);
    __cxa_atexit(at_exit, &numbers[1], &__dso_handle);
}
__attribute__((destructor)) static void down(void)
{
    __cxa_finalize(&__dso_handle);
    printf("outside down %d\n", native_number());
    fflush(stdout);
}
int number(void)
{
    return native_number() + 1;
}
#else
struct info {
    unsigned long addr;
    const char *name;
    const void *headers;
    unsigned short count;
    unsigned long long adds, subs;
};
int dl_iterate_phdr(int (*)(struct info *, unsigned long, void *), void *);
static unsigned long long changes[2];
static int objects;
static int each(struct info *info, unsigned long size, void *data)
{
    (void)size;
    (void)data;
    if (objects++)
        CHECK(changes[0] == info->adds && changes[1] == info->subs);
    changes[0] = info->adds;
    changes[1] = info->subs;
    return 0;
}
int main(void)
{
    printf("program\n");
    fflush(stdout);
    objects = 0;
    dl_iterate_phdr(each, 0);
    CHECK((unsigned long long)objects == changes[0] - changes[1]);
    static unsigned long long first;
    first = changes[0];
    for (int round = 0; round < 3; round++) {
        void *handle = world_open("liboutside.so", 2);
        put("opened", handle != 0);
        objects = 0;
        dl_iterate_phdr(each, 0);
        put("added", (long)(changes[0] - first) * 100 + (long)changes[1]);
        put("number", ((int (*)(void))world_find(handle, "number"))());
        put("of what it needs", ((int (*)(void))world_find(handle, "native_number"))());
        put("close", world_close(handle));
        objects = 0;
        dl_iterate_phdr(each, 0);
        put("removed", (long)(changes[0] - first) * 100 + (long)changes[1]);
        put("gone", world_open("libnative.so", 2 | 4) == 0);
        world_error();
    }
    return SUCCESS;
}
#endif
