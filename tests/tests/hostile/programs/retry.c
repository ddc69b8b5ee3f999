// Asks for libc while it can not be had, and again when it can.
// `retry LINK [TARGET ERRNO]... TARGET`: the link to ld.so is made to lead to each target; with the last one it works.
//# variants: unnamed
//# link: {stage}/usr/lib/slul/x86_64/libslulrtld.so
//# rpath: none
#include "libcfree.h"

enum { SYS_unlink = 87, SYS_symlink = 88 };

static word signal_mask(void)
{
    word mask = 0;
    CHECK(system_call(SYS_rt_sigprocmask, 0, 0, (word)&mask, 8) == 0);
    return mask;
}

static int number(const char *text)
{
    int value = 0;
    while (*text)
        value = value * 10 + (*text++ - '0');
    return value;
}

/* Twice, so that the first time leaves nothing behind that the second would find. */
static void fails(int errno)
{
    word mask = signal_mask();
    for (int time = 0; time < 2; time++) {
        CHECK(slul_load_libc() == -errno);
        CHECK(slul_libc_state() == SLUL_LIBC_ABSENT);
        CHECK(!slul_dlopen("libz.so.1", SLUL_RTLD_NOW));
        const char *error = slul_dlerror();
        CHECK(error && *error && !slul_dlerror());
        CHECK(slul_libc_state() == SLUL_LIBC_ABSENT);
    }
    CHECK(signal_mask() == mask);
}

static void lead(const char *link, const char *target)
{
    system_call(SYS_unlink, (word)link, 0, 0, 0);
    CHECK(system_call(SYS_symlink, (word)target, (word)link, 0, 0) == 0);
}

PROGRAM
{
    for (int i = 2; i + 1 < argc; i += 2) {
        lead(argv[1], argv[i]);
        fails(number(argv[i + 1]));
        say("without\n");
    }
    lead(argv[1], argv[argc - 1]);
    CHECK(slul_load_libc() == 0 && slul_libc_state() == SLUL_LIBC_PRESENT);
    void *zlib = slul_dlopen("libz.so.1", SLUL_RTLD_NOW);
    if (!zlib)
        failed(slul_dlerror());
    const char *(*version)(void) = (const char *(*)(void))slul_dlsym(zlib, "zlibVersion");
    CHECK(version && begins(version(), "1."));
    say("with\n");
    return SUCCESS;
}
