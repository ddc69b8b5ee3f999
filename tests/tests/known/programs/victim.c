// The victim of attacks: a set-id program with a library and a native one. `evil` has the libraries that the others
// must never use. Each variant finds its libraries in another way.
//# variants: library both native origin origin-native rpath rpath-native relative empty named relative-named named-native evil
//# setid: 1
//# needs: root
//# lib[library both origin rpath relative empty evil]: libone.so
//# lib[named]: libone.so -Wl,-soname,$ORIGIN/libone.so
//# lib[relative-named]: libone.so -Wl,-soname,./libone.so
//# native[both native origin-native rpath-native]: libtwo.so
//# native[evil]: libtwo.so -DEVIL
//# native[named-native]: libtwo.so -Wl,-soname,$ORIGIN/libtwo.so
//# program[library both origin rpath relative empty named relative-named evil]: -DONE
//# program[both native origin-native rpath-native named-native evil]: -DTWO
//# flags[evil]: -DEVIL
//# rpath[origin origin-native rpath rpath-native]: $ORIGIN
//# rpath[relative]: .
//# rpath[empty]: /nonexistent:
//# rpath[named relative-named named-native]: none
//# flags[rpath rpath-native]: -Wl,--disable-new-dtags
#include "libcfree.h"

int one(void);
char **two(void);

#ifdef EVIL
#define WHOSE "evil "
#else
#define WHOSE ""
#endif

#ifdef IN_libone
__attribute__((constructor)) static void initialise(void)
{
    say(WHOSE "library\n");
}

int one(void)
{
    return 1;
}
#elif defined IN_libtwo
extern char **environ;

__attribute__((constructor)) static void initialise(void)
{
    say(WHOSE "native\n");
}

/* What makes the evil one a library for LD_AUDIT. */
unsigned la_version(unsigned version);
unsigned la_version(unsigned version)
{
    say(WHOSE "audit\n");
    return version;
}

char **two(void)
{
    return environ;
}
#else
/* Says the environment, or that it has what should be gone. */
static void look(char **envp, int list)
{
    for (char **at = envp; *at; at++) {
        CHECK(!begins(*at, "LD_") && !begins(*at, "GLIBC_TUNABLES="));
        if (list)
            say("["), say(*at), say("]\n");
    }
    const struct auxv *auxv = auxv_after(envp);
    CHECK(auxv_value(auxv, AT_SECURE) == 1);
    CHECK(auxv_value(auxv, AT_PAGESZ) == 4096 && auxv_value(auxv, AT_RANDOM));
}

/* victim WHAT FORBIDDEN...: nothing that has such a name may be mapped. */
PROGRAM
{
    int list = argc > 1 && same(argv[1], "list"), secure = auxv_value(auxv, AT_SECURE) != 0;
    say("program\n");
    CHECK(auxv == auxv_after(envp));
    if (secure)
        look(envp, list);
#ifdef ONE
    CHECK(one() == 1);
#endif
#ifdef TWO
    char **strings = two();
    if (secure)
        look(strings, list);
#endif
    for (int i = 2; i < argc && secure; i++)
        CHECK(!is_mapped(argv[i]));
    return SUCCESS;
}
#endif
