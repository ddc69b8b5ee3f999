/* Opens native libraries, from a program that names none: finds, calls, closes, and hears what is wrong. */
#include "prelude.h"
#if defined IN_libnative || defined IN_libother
#include <stdio.h>
#ifdef IN_libnative
#define NAME "native"
int other_number(void);
#else
#define NAME "other"
int other_number(void);
int other_number(void)
{
    return 40;
}
#endif
__attribute__((constructor)) static void up(void)
{
    puts(NAME " up");
    fflush(stdout);
}
__attribute__((destructor)) static void down(void)
{
    puts(NAME " down");
    fflush(stdout);
}
#ifdef IN_libnative
int native_data = 5;
__thread int native_local = 7;
int native_function(int (*function)(int))
{
    printf("native function\n");
    fflush(stdout);
    return function(native_data++) + native_local + other_number();
}
#endif
#elif defined IN_libbroken
int nobody_has_this(void);
int (*pointer)(void) = nobody_has_this;
#else
static int twice(int number)
{
    return number * 2;
}
static void hear(const char *what)
{
    const char *error = world_error();
    put(what, error != 0);
    if (error && *error) {
        // The rest is libc's business, and has the program's name in it.
        const char *last = error;
        for (const char *at = error; *at; at++)
            if (*at == '/')
                last = at + 1;
        say(last);
        say("\n");
    }
    put("silent again", world_error() == 0);
}

int main(void)
{
    say("program\n");
    put("noload", world_open("libnative.so", 2 | 4) != 0);
    world_error();
    void *native = world_open("libnative.so", 2);
    put("opened", native != 0);
    if (!native) {
        hear("why");
        return 1;
    }
    int (*function)(int (*)(int)) = (int (*)(int (*)(int)))world_find(native, "native_function");
    put("call", function(twice));
    put("data", *(int *)world_find(native, "native_data"));
    put("local", *(int *)world_find(native, "native_local"));
    put("same", world_open("libnative.so", 1) == native);
    put("of what it needs", world_find(native, "other_number") != 0);
    put("absent", world_find(native, "nowhere") != 0);
    hear("absent says");
    put("no file", world_open("libnowhere.so", 2) != 0);
    hear("no file says");
    put("undefined", world_open("libbroken.so", 2) != 0);
    hear("undefined says");
    put("no library", world_open("/etc/passwd", 2) != 0);
    put("global", world_find((void *)0, "native_function") != 0);
    world_error();
    put("globally", world_open("libnative.so", 2 | 0x100) == native);
    put("global", world_find((void *)0, "native_function") == (void *)function);
    put("libc's", world_find((void *)0, "puts") != 0);
    put("close", world_close(native));
    put("close", world_close(native));
    put("close", world_close(native));
    put("noload", world_open("libnative.so", 2 | 4) != 0);
    native = world_open("libnative.so", 2);
    put("again", native != 0);
    put("load", world_load_libc());
    return SUCCESS;
}
#endif
