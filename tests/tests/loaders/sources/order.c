/* Says when it is initialised and finalised, by each of the ways that it is compiled with. */
#include "prelude.h"

#ifndef NAME
#define NAME "program"
#endif

/* Nobody else's function of the same name may stand in for it. */
#define SAYS(linkage, function, what)  \
    linkage void function(void)        \
    {                                  \
        say(what " " NAME "\n");       \
    }
#define HIDDEN __attribute__((visibility("hidden")))
#define FIRST(...) __attribute__((constructor __VA_ARGS__)) static
#define LAST(...) __attribute__((destructor __VA_ARGS__)) static

#ifdef PREINIT
SAYS(static, preinit_1, "preinit 1")
SAYS(static, preinit_2, "preinit 2")
__attribute__((section(".preinit_array"), used)) static void (*const preinits[])(void) = {preinit_1, preinit_2};
#endif
#ifdef SINGLE
HIDDEN void t_init(void);
HIDDEN void t_fini(void);
SAYS(, t_init, "DT_INIT")
SAYS(, t_fini, "DT_FINI")
#endif
#ifdef ARRAYS
SAYS(FIRST(), init, "init")
SAYS(LAST(), fini, "fini")
#endif
#ifdef PRIORITIES
SAYS(FIRST((300)), init_300, "init 300")
SAYS(FIRST((101)), init_101, "init 101")
SAYS(FIRST((200)), init_200, "init 200")
SAYS(LAST((300)), fini_300, "fini 300")
SAYS(LAST((101)), fini_101, "fini 101")
SAYS(LAST((200)), fini_200, "fini 200")
#endif

#ifndef LIBRARY
int t_main(void)
{
    say("main\n");
    return SUCCESS;
}
#endif
