// A program that reports on its own process: `plain` by the plain start, `handed` by that of rt0's programs, `full` by
// the full start, `native` after a call of the system's zlib.
//# variants: plain handed full native
//# link[handed]: -Wl,--no-dynamic-linker
//# lib[full]: libone.so
//# link[native]: -l:libz.so.1
//# program[native]: -DNATIVE
//# program[full]: -DFULL
//# rpath: $ORIGIN
#include "libcfree.h"

const char *zlibVersion(void);
int one(void);

#ifdef IN_libone
int one(void)
{
    return 1;
}
#else

static word number_of(const char *text)
{
    word value = 0;
    while (*text)
        value = value * 10 + (word)(*text++ - '0');
    return value;
}

static void print(const char *what, word value)
{
    char digits[18] = {0};
    for (int place = 16; place-- > 0; value >>= 4)
        digits[place] = "0123456789abcdef"[value & 15];
    digits[16] = '\n';
    say(what);
    say(digits);
}

static word open_descriptors(void)
{
    word open = 0;
    for (word fd = 0; fd < 64; fd++)
        if (system_call(SYS_fcntl, fd, 1 /* F_GETFD */, 0, 0) >= 0)
            open |= 1UL << fd;
    return open;
}

static word ignored_signals(void)
{
    word ignored = 0;
    for (word signal = 1; signal <= 64; signal++) {
        word action[4] = {0};
        if (system_call(SYS_rt_sigaction, signal, 0, (word)action, 8) == 0 && action[0] == 1 /* SIG_IGN */)
            ignored |= 1UL << (signal - 1);
    }
    return ignored;
}

PROGRAM
{
    word blocked = 0;
    const char *topic = argv[1];
    if (same(topic, "file"))
        // Takes the lowest free descriptor; the first call must not write there.
        CHECK(system_call(SYS_open, (word)argv[2], 02101 /* O_WRONLY | O_CREAT | O_APPEND */, 0666, 0) >= 0);
#ifdef NATIVE
    CHECK(begins(zlibVersion(), "1."));
#endif
#ifdef FULL
    CHECK(one() == 1);
#endif
    if (same(topic, "descriptors"))
        return open_descriptors() == number_of(argv[2]) ? SUCCESS : 1;
    if (same(topic, "signals")) {
        CHECK(system_call(SYS_rt_sigprocmask, 2, 0, (word)&blocked, 8) == 0);
        print("blocked ", blocked);
        print("ignored ", ignored_signals());
    }
    if (same(topic, "dumpable"))
        print("dumpable ", (word)system_call(157 /* prctl */, 3 /* PR_GET_DUMPABLE */, 0, 0, 0));
    if (same(topic, "block")) {
        word variables = 0, bytes = 0;
        for (char **at = envp; *at; at++)
            variables++, bytes += length(*at);
        print("arguments ", (word)argc);
        print("variables ", variables);
        print("bytes ", bytes);
        print("page ", auxv_value(auxv_after(envp), AT_PAGESZ));
    }
    return SUCCESS;
}
#endif
