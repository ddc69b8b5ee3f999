/* A function or datum that was there when the program was linked. */
#include "prelude.h"

#ifdef PROVIDER
int t_other_thing;
#if PROVIDER
int t_datum = 1;
int t_function(void)
{
    return 1;
}
#endif
#else
int t_function(void);
extern int t_datum;
#ifdef LIBRARY
int t_user(void);
int t_user(void)
{
#ifdef DATUM
    return t_datum;
#else
    return t_function();
#endif
}
#else
int t_user(void);
int t_main(void)
{
    say("started\n");
#if defined DATUM
    return t_datum;
#elif defined FUNCTION
    return t_function();
#else
    return t_user();
#endif
}
#endif
#endif
