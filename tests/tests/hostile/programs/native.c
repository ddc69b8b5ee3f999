// A program that calls the system's zlib once, from the middle of its life; it has blocked a signal before that.
//# variants: gnu musl secure installed
//# installed[installed]: usr/libexec/slul/libc-bogomapping-template-executable-x86_64
//# link: -l:libz.so.1
//# rpath[gnu installed]: $ORIGIN
//# needs[musl]: musl
//# rpath[musl]: {musl}
//# needs[secure]: root
//# rpath[secure]: none
//# setid[secure]: 1
//# program[secure]: -DSECURE
#include "libcfree.h"

const char *zlibVersion(void);

static volatile int number = SUCCESS;

PROGRAM
{
    word blocked = 1UL << 9 /* SIGUSR1 */, now = 0;
    CHECK(system_call(SYS_rt_sigprocmask, 2, (word)&blocked, 0, 8) == 0);
#ifdef SECURE
    CHECK(auxv_value(auxv_after(envp), AT_SECURE) == 1);
#endif
    say("before\n");
    // Permissions that imply PROT_EXEC, for the rest of the process.
    if (argv[0] && argv[1] && same(argv[1], "read-implies-exec"))
        CHECK(system_call(135 /* personality */, 0x400000, 0, 0, 0) >= 0);
    // Nothing that is writable becomes executable any more; kernels before 6.3 know nothing of it.
    if (argv[0] && argv[1] && same(argv[1], "no-new-code"))
        system_call(157 /* prctl */, 65 /* PR_SET_MDWE */, 1, 0, 0);
    CHECK(begins(zlibVersion(), "1."));
    CHECK(system_call(SYS_rt_sigprocmask, 2, 0, (word)&now, 8) == 0);
    CHECK(now == blocked);
    say("after\n");
    return number;
}
