/* Each object defines a function, and asks for the next definition: of the program, a library without libc, and native ones.
   The usual way to interpose a function of libc is the same with libc's own. */
#include "prelude.h"
typedef void *find_symbol(void *, const char *);
#define NEXT ((void *)-1)
/* Asks, for the object that this is in: the caller is whose return address it is. */
static inline void *next(find_symbol *find, const char *name)
{
    void *address = find(NEXT, name);
    __asm__ volatile("" ::: "memory");
    return address;
}
#if defined IN_libapart
#include <unistd.h>
int number(find_symbol *find)
{
    (void)find;
    return getpid() ? 90000 : 0;
}
int apart_alone(void)
{
    return 1;
}
#elif defined IN_libfirst || defined IN_libsecond
#include <stdio.h>
#ifdef IN_libfirst
enum { WHO = 1 };
#else
enum { WHO = 2 };
int second_alone(find_symbol *find)
{
    (void)find;
    return puts("second alone") >= 0 && fflush(stdout) == 0;
}
#endif
static int here(void)
{
    return WHO;
}
static int (*choose(void))(void)
{
    return here;
}
int chosen(void) __attribute__((ifunc("choose")));
int number(find_symbol *find)
{
    (void)find;
    return WHO;
}
#else
int number(find_symbol *find);
static int next_number(find_symbol *find)
{
    int (*function)(find_symbol *) = (int (*)(find_symbol *))next(find, "number");
    return function == number ? -1000 : function ? function(find) : 0;
}
#if defined IN_libfree || defined IN_libwrap
#ifdef IN_libfree
enum { WHO = 10 };
#else
enum { WHO = 500 };
#endif
int number(find_symbol *find)
{
    return WHO + next_number(find);
}
#else
#include <stdio.h>
#include <stdlib.h>
int number(find_symbol *find)
{
    return 7000 + next_number(find);
}
int second_alone(find_symbol *find)
{
    int (*function)(find_symbol *) = (int (*)(find_symbol *))next(find, "second_alone");
    return function ? function(find) : -1;
}
int chosen(void)
{
    int (*function)(void) = (int (*)(void))next(world_finder(), "chosen");
    return function ? 30 + function() : -1;
}
static int depth;
long labs(long value)
{
    long (*function)(long) = (long (*)(long))next(world_finder(), "labs");
    return ++depth > 3 || !function ? -1 : function(value);
}
int main(void)
{
    printf("first line\n");
    fflush(stdout);
    put("number", number(world_finder()));
    put("alone", second_alone(world_finder()));
    put("chosen", chosen());
    put("labs", labs(-5));
    void *handle = world_open("libapart.so", 1);
    put("opened", handle != 0);
    int (*apart)(find_symbol *) = (int (*)(find_symbol *))world_find(handle, "number");
    put("of what is opened", apart ? apart(world_finder()) : -1);
    put("local", next(world_finder(), "apart_alone") != 0);
    world_error();
    world_open("libapart.so", 1 | 0x100);
    put("global", next(world_finder(), "apart_alone") != 0);
    put("absent", next(world_finder(), "nowhere_at_all") == 0 && world_error() != 0);
    return SUCCESS;
}
#endif
#endif
