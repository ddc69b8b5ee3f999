// Says all that a program sees of how it was started. What differs from run to run is not printed but checked.
#include "libcfree.h"

enum { SYS_prctl = 157, SYS_getcwd = 79, SYS_readlink = 89, F_GETFD = 1, PR_GET_DUMPABLE = 3, PR_GET_NAME = 16 };
enum { AT_EXECFD = 2, AT_PHENT = 4, AT_PHNUM = 5, AT_FLAGS = 8, AT_EXECFN = 31 };

extern const unsigned char __ehdr_start[] __attribute__((visibility("hidden")));

const char *zlibVersion(void);

static void line(const char *key, const char *value)
{
    say(key), say(": "), say(value), say("\n");
}

static void number(const char *key, word value)
{
    char text[24], *at = text + sizeof text;
    *--at = 0;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    line(key, at);
}

static word header_word(word offset)
{
    return *(const word *)(__ehdr_start + offset);
}

PROGRAM
{
    // On the stack: without .bss a program that rt0 hands over is entered before the loader relocates itself.
    char text[1 << 13];
    number("argc", (word)argc);
    for (int i = 0; i < argc; i++)
        line(i == 0 ? "argv[0]" : "argument", argv[i]);
    CHECK(!argv[argc] && envp == argv + argc + 1);
    for (char **variable = envp; *variable; variable++)
        line("variable", *variable);
    CHECK((const void *)auxv == (const void *)auxv_after(envp));

    CHECK(system_call(SYS_prctl, PR_GET_NAME, (word)text, 0, 0) == 0);
    line("comm", text);
    long got = system_call(SYS_readlink, (word) "/proc/self/exe", (word)text, sizeof text - 1, 0);
    text[got < 0 ? 0 : got] = 0;
    line("/proc/self/exe", text);
    CHECK(system_call(SYS_getcwd, (word)text, sizeof text, 0, 0) > 0);
    line("cwd", text);
    for (word descriptor = 0; descriptor < 1024; descriptor++)
        if (system_call(SYS_fcntl, descriptor, F_GETFD, 0, 0) >= 0)
            number("descriptor", descriptor);
    word mask = 0;
    CHECK(system_call(SYS_rt_sigprocmask, 0, 0, (word)&mask, sizeof mask) == 0);
    number("mask", mask);
    number("dumpable", (word)system_call(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0));

    word bias = (word)__ehdr_start - (*(const unsigned short *)(__ehdr_start + 16) == 2 ? (word)__ehdr_start : 0);
    CHECK(auxv_value(auxv, AT_ENTRY) == bias + header_word(24));
    CHECK(auxv_value(auxv, AT_PHDR) == (word)__ehdr_start + header_word(32));
    CHECK(auxv_value(auxv, AT_PHNUM) == *(const unsigned short *)(__ehdr_start + 56));
    CHECK(auxv_value(auxv, AT_PHENT) == 56 && auxv_value(auxv, AT_RANDOM));
    const unsigned *loader = (const unsigned *)auxv_value(auxv, AT_BASE);
    CHECK(loader && *loader == 0x464c457f && (const void *)loader != __ehdr_start);
    line("AT_EXECFN", (const char *)auxv_value(auxv, AT_EXECFN));
    number("AT_SECURE", auxv_value(auxv, AT_SECURE));
    number("AT_FLAGS", auxv_value(auxv, AT_FLAGS));
    for (const struct auxv *entry = auxv; entry->type; entry++)
        number("entry", entry->type);
    CHECK(((word)__builtin_frame_address(0) & 15) == 0);
#ifdef NATIVE
#ifdef EAGER
    CHECK(any_libc_is_mapped());
#else
    CHECK(!any_libc_is_mapped());
#endif
    CHECK(begins(zlibVersion(), "1.") && any_libc_is_mapped());
    CHECK(auxv_value(auxv, AT_EXECFN) && same(argv[argc - 1], "last"));
#endif
    return SUCCESS;
}
