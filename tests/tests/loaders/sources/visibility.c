/* The chosen definition if a library's own one is visible from outside, and another object has one as well. */
#include "prelude.h"

#if defined OWNER
VISIBILITY int t_data = 1;
VISIBILITY int t_function(void)
{
    return 1;
}
static int (*pointer)(void) = t_function;
static int *place = &t_data;
void t_owner(void);
void t_owner(void)
{
    int (*volatile taken)(void) = t_function;
    put("owner calls", t_function());
    put("owner reads", t_data);
    put("owner's pointer", pointer());
    put("owner's place", *place);
    put("owner takes the same", taken == pointer && place == &t_data);
}
#endif

#if defined OTHER
int t_data = 2;
int t_function(void)
{
    return 2;
}
#endif

#if !defined LIBRARY
void t_owner(void);
int t_main(void)
{
    t_owner();
#ifdef LOOKS
    int t_function(void);
    extern int t_data;
    int (*volatile taken)(void) = t_function;
    put("program calls", t_function());
    put("program reads", t_data);
    put("program's pointer", taken());
#endif
    return SUCCESS;
}
#endif
