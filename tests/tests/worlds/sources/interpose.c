/* Two native libraries define a function: all objects are bound to that of the first in the program's order. */
#include "prelude.h"
#if defined IN_libfirst || defined IN_libsecond
#ifdef IN_libfirst
#define NAME(x) first_##x
enum { WHO = 1 };
#else
#define NAME(x) second_##x
enum { WHO = 2 };
#endif
int shared_data = WHO * 10;
__attribute__((weak)) int shared_weak(void)
{
    return WHO;
}
int shared(void)
{
    return WHO;
}
int program_has_it_too(void)
{
    return WHO;
}
int NAME(asks)(void)
{
    return shared() * 1000 + shared_data * 10 + shared_weak() + program_has_it_too() * 10000;
}
#else
#include <stdio.h>
int shared(void), shared_weak(void), first_asks(void), second_asks(void);
extern int shared_data;
int program_has_it_too(void)
{
    return 9;
}
int main(void)
{
    printf("%d %d %d\n", shared(), shared_weak(), shared_data);
    printf("%d %d %d\n", first_asks(), second_asks(), program_has_it_too());
    return SUCCESS;
}
#endif
