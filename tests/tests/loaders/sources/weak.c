/* References that may stay without a definition. */
#include "prelude.h"

#if defined PROVIDER
#if PROVIDER > 0
#if PROVIDER == 2
#pragma weak t_maybe
#pragma weak t_datum
#endif
int t_datum = 5;
int t_maybe(void)
{
    return 7;
}
#else
int t_nothing;
#endif
#else
extern int t_maybe(void) __attribute__((weak));
extern int t_datum __attribute__((weak));

#ifdef ASKER
static int (*pointer)(void) = t_maybe;
static int *place = &t_datum;
void t_ask(void);
void t_ask(void)
{
    put("library's function", t_maybe ? t_maybe() : 0);
    put("library's datum", &t_datum ? t_datum : 0);
    put("library's pointers", (pointer ? 1 : 0) + (place ? 2 : 0));
}
#else
void t_ask(void);
static int (*pointer)(void) = t_maybe;
static int *place = &t_datum;
int t_main(void)
{
    t_ask();
    put("function", t_maybe ? t_maybe() : 0);
    put("datum", &t_datum ? t_datum : 0);
    put("pointers", (pointer ? 1 : 0) + (place ? 2 : 0));
    return SUCCESS;
}
#endif
#endif
