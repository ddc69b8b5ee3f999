/* Three libraries, and sometimes the program, define the same names: the first in the scope wins, weak or not. */
#include "prelude.h"

#ifdef WEAK
#define STRENGTH __attribute__((weak))
#else
#define STRENGTH
#endif

#if defined WHO
STRENGTH int t_data = 10 * WHO;
STRENGTH int t_function(void)
{
    return WHO;
}
int JOIN(t_seen_by_, WHO)(void)
{
    return 100 * t_function() + t_data;
}
#endif

#if !defined LIBRARY
int t_function(void);
extern int t_data;
int t_seen_by_1(void);
int t_seen_by_2(void);
int t_seen_by_3(void);

int t_main(void)
{
    put("function", t_function());
    put("data", t_data);
    put("of 1", t_seen_by_1());
    put("of 2", t_seen_by_2());
    put("of 3", t_seen_by_3());
    return SUCCESS;
}
#endif
