// A set-id program that opens libraries by names which an attacker would like to lead elsewhere: one without libc, a
// native one, and one by libc's own dlopen. `embed` is a static file, with the loader in it; `path` opens what it is told
// to.
//# variants: interpreter embed path
//# setid: 1
//# needs: root
//# native[interpreter embed]: libthree.so
//# program[path]: -DPATH
//# link: {stage}/usr/lib/slul/x86_64/libslulrtld.so
//# link[embed]: -Wl,--no-dynamic-linker,-e,slul_rt0 {stage}/usr/lib/slul/x86_64/rt0-embed.o
#ifdef IN_libthree
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

int opens(const char *name)
{
    return dlopen(name, RTLD_NOW) != 0;
}

int is_secure(void)
{
    return getauxval(AT_SECURE) == 1 && getuid() != geteuid() && !secure_getenv("HOME");
}
#else
#include "libcfree.h"

int opens(const char *name);
int is_secure(void);

static void open(const char *name)
{
    if (!slul_dlopen(name, SLUL_RTLD_NOW))
        say(slul_dlerror()), say("\n");
}

PROGRAM
{
    int secure = auxv_value(auxv, AT_SECURE) != 0;
    say("program\n");
#ifdef PATH
    CHECK(secure);
    open(argv[1]);
#else
    open("libone.so");
    open("libtwo.so");
    int opened = opens("libtwo.so");
    CHECK(is_secure() == secure && opened == !secure);
    for (int i = 1; i < argc && secure; i++)
        CHECK(!is_mapped(argv[i]));
#endif
    return SUCCESS;
}
#endif
