/* Thread-local variables of program and libraries, and one that two libraries define. */
#include "prelude.h"

#ifdef WHO
__thread int t_shared = 100 * WHO;
__thread char t_odd[3] = {WHO, 2, 3};
static __thread int zeroed, local = WHO;
_Alignas(64) __thread int JOIN(t_aligned_, WHO) = 7 * WHO;
void JOIN(t_library_, WHO)(void);
void JOIN(t_library_, WHO)(void)
{
    put("library", WHO);
    put("shared", t_shared++);
    put("odd", t_odd[0]);
    put("zeroed", zeroed++);
    put("local", local++);
    put("aligned", JOIN(t_aligned_, WHO) + (int)((word)&JOIN(t_aligned_, WHO) % 64));
}
#else
extern __thread int t_shared;
void t_library_1(void);
void t_library_2(void);
static __thread int own = 9;
int t_main(void)
{
    put("own", own++);
    t_library_1();
    t_library_2();
    t_library_1();
    put("shared", t_shared);
    put("own", own);
    return SUCCESS;
}
#endif
