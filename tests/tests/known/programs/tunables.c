// Says the environment, its own and that which libc has.
//# native: libtwo.so
//# link: {stage}/usr/lib/slul/x86_64/libslulrtld.so
//# program: -DPROGRAM_PART
#ifdef PROGRAM_PART
#include "libcfree.h"

char **environment(void);

static void list(char **envp)
{
    for (char **at = envp; *at; at++)
        say("["), say(*at), say("]\n");
}

PROGRAM
{
    say("program\n");
    list(envp);
    // Brings libc in, with more room for thread-local storage, because it is imported.
    CHECK(!slul_dlopen("/nonexistent/library.so", SLUL_RTLD_NOW));
    list(environment());
    return SUCCESS;
}
#else
extern char **environ;
char **environment(void);
char **environment(void)
{
    return environ;
}
#endif
