/* One function has one address and a datum one place, whoever asks: program, the library itself, and another. */
#include "prelude.h"

#if defined OWNER
int t_datum[40] = {1, [39] = 4};
extern int t_alias[40] __attribute__((weak, alias("t_datum")));
int t_zeroed[40];
int t_function(int add)
{
    return t_datum[0] + t_alias[39] + t_zeroed[39] + add;
}
int (*t_function_in_owner)(int) = t_function;
int *t_place_in_owner = &t_datum[39];
#elif defined LIBRARY
int t_function(int);
extern int t_datum[40], t_zeroed[40];
int (*t_function_in_other)(int) = t_function;
int t_other(int (*function)(int), int *datum);
int t_other(int (*function)(int), int *datum)
{
    int (*volatile taken)(int) = t_function;
    t_zeroed[39] += 10;
    return (function == taken) + 2 * (datum == t_datum) + 4 * (t_function_in_other == function) + t_function(8);
}
#else
int t_function(int);
extern int t_datum[40], t_alias[40], t_zeroed[40];
extern int (*t_function_in_owner)(int), (*t_function_in_other)(int);
extern int *t_place_in_owner;
int t_other(int (*function)(int), int *datum);
static int (*const constant)(int) = t_function;

int t_main(void)
{
    int (*volatile taken)(int) = t_function;
#ifdef CALLS
    put("called", t_function(100));
#endif
    put("owner's", t_function_in_owner == taken);
    put("other's", t_function_in_other == taken);
    put("constant", constant == taken);
    put("place", t_place_in_owner == &t_datum[39]);
    put("alias", t_alias[0]);
    t_datum[39] = 1000;
    t_zeroed[39] = 1;
    put("through owner's", t_function_in_owner(0));
    put("other", t_other(taken, t_datum));
    put("zeroed", t_zeroed[39]);
    return SUCCESS;
}
#endif
