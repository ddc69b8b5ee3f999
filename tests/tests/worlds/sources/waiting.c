/* A plugin that names nothing calls functions of the program, of a library that is opened later, of libc, and one that nobody
   has. Lazily it opens, and each call finds what is there by then. */
#include "prelude.h"
#if defined IN_libplugin
int program_has(int), later_has(int), later_chosen(void), nobody_has(void);
long labs(long);
int calls_program(int value)
{
    return program_has(value) + 1;
}
int calls_later(int value)
{
    return later_has(value) + 1;
}
int calls_chosen(void)
{
    return later_chosen() + 1;
}
long calls_libc(long value)
{
    return labs(value) + 1;
}
int calls_nobody(void)
{
    return nobody_has() + 1;
}
#elif defined IN_libaddress
int later_has(int);
int (*pointer)(int) = later_has;
#elif defined IN_libdata
extern int later_data;
int *place(void)
{
    return &later_data;
}
#elif defined IN_libboth
int later_has(int);
int calls(int value)
{
    return later_has(value);
}
int (*address(void))(int)
{
    return later_has;
}
#elif defined IN_liblater
int later_data = 4;
int later_has(int value)
{
    return value * 100;
}
static int chosen(void)
{
    return 8;
}
__attribute__((used)) static int (*choose(void))(void)
{
    return chosen;
}
int later_chosen(void) __attribute__((ifunc("choose")));
#else
#include <stdlib.h>
int program_has(int value)
{
    return value * 10;
}
static int now(const char *name)
{
    void *handle = world_open(name, 2);
    if (handle)
        world_close(handle);
    else
        put("says why", world_error() != 0);
    return handle != 0;
}
int main(int argc, char **argv)
{
    put("before", abs(-1));
    put("plugin now", now("libplugin.so"));
    put("address now", now("libaddress.so"));
    put("address lazily", world_open("libaddress.so", 1) != 0);
    put("data lazily", world_open("libdata.so", 1) != 0);
    put("both lazily", world_open("libboth.so", 1) != 0);
    void *plugin = world_open("libplugin.so", 1);
    put("plugin lazily", plugin != 0);
    if (!plugin)
        return SUCCESS;
    put("program's", ((int (*)(int))world_find(plugin, "calls_program"))(3));
    put("libc's", ((long (*)(long))world_find(plugin, "calls_libc"))(-3));
    put("libc's again", ((long (*)(long))world_find(plugin, "calls_libc"))(-4));
    put("again", world_open("libplugin.so", 1) == plugin);
    void *later = world_open("liblater.so", 1 | 0x100);
    put("later", later != 0);
    put("later's", ((int (*)(int))world_find(plugin, "calls_later"))(3));
    put("later's again", ((int (*)(int))world_find(plugin, "calls_later"))(4));
    put("chosen", ((int (*)(void))world_find(plugin, "calls_chosen"))());
    put("chosen again", ((int (*)(void))world_find(plugin, "calls_chosen"))());
    put("address lazily", world_open("libaddress.so", 1) != 0);
    put("data lazily", world_open("libdata.so", 1) != 0);
    put("both lazily", world_open("libboth.so", 1) != 0);
    put("closes", world_close(later));
    put("it stays, for the plugin", ((int (*)(int))world_find(plugin, "calls_later"))(5));
    put("close", world_close(plugin));
    plugin = world_open("libplugin.so", 1);
    put("opens again", ((int (*)(int))world_find(plugin, "calls_program"))(5));
    (void)argv;
    if (argc > 1)
        ((int (*)(void))world_find(plugin, "calls_nobody"))();
    return SUCCESS;
}
#endif
