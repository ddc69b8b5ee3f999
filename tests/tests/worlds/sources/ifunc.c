/* Native functions that are chosen at run time: called, by address in data, by address in code, and by dlsym. */
#include "prelude.h"
#ifdef IN_libnative
static int answer(void)
{
    return 7;
}
static int (*choose(void))(void)
{
    return answer;
}
int native_chosen(void) __attribute__((ifunc("choose")));
int native_calls_it(int (*function)(void))
{
    return function() + native_chosen();
}
#else
#include <stdio.h>
#include <string.h>

int native_chosen(void);
int native_calls_it(int (*)(void));
static int (*pointer)(void) = native_chosen;
static size_t (*volatile measures)(const char *) = strlen;

int main(int argc, char **argv)
{
    int (*volatile address)(void) = native_chosen;
    printf("%d %d %d\n", native_chosen(), pointer(), address());
    printf("%d %d\n", native_calls_it(pointer), native_calls_it(address));
    printf("same %d\n", pointer == address);
    printf("%zu %s %d\n", measures("four"), strchr("abc", 'b'), memcmp(argv[0], "?", (size_t)argc));
    return SUCCESS;
}
#endif
