// Prints the effects of variables on its start, and the number of variables.
//# variants: plain full native secure
//# lib[full]: libone.so
//# rpath: $ORIGIN
//# program[plain]: -DSTATE=SLUL_LIBC_ABSENT
//# program[full]: -DSTATE=(one(),SLUL_LIBC_ABSENT)
//# program[native secure]: -DSTATE=slul_libc_state() -DNATIVE
//# link[native secure]: -l:libz.so.1 {stage}/usr/lib/slul/x86_64/libslulrtld.so
//# installed[native secure]: usr/libexec/slul/slulrtld-using-libc-x86_64-gnu
//# needs[secure]: root
//# rpath[secure]: none
//# setid[secure]: 1
#include "libcfree.h"

int one(void);
const char *zlibVersion(void);

#ifdef IN_libone
int one(void)
{
    return 1;
}
#else

PROGRAM
{
    char path[4096] = {0}, digits[] = "00\n";
    // readlink
    CHECK(system_call(89, (word)"/proc/self/exe", (word)path, sizeof path - 1, 0) > 0);
    say(contains(path, "/slulrtld-using-libc-") ? "using libc " : STATE == SLUL_LIBC_PRESENT ? "eager " : "bare ");
    word count = 0;
    while (envp[count])
        count++;
    digits[0] += count / 10;
    digits[1] += count % 10;
    say(digits);
    CHECK(auxv == auxv_after(envp));
#ifdef NATIVE
    CHECK(begins(zlibVersion(), "1."));
#endif
    return SUCCESS;
}
#endif
