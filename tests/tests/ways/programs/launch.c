// Executes a program in a certain way, in a process that is prepared for it: launch WORD... -- PATH ARGV...
#include "libcfree.h"

enum {
    SYS_unlink = 87, SYS_dup2 = 33, SYS_memfd_create = 319, SYS_execveat = 322, SYS_setuid = 105,
    SYS_setgid = 106, SYS_setgroups = 116, SYS_rename = 82,
    O_CLOEXEC = 0x80000, AT_EMPTY_PATH = 0x1000, SIG_BLOCK = 0
};

static char *value(char *text, const char *key)
{
    return begins(text, key) ? text + length(key) : 0;
}

static word parse(const char *text)
{
    word number = 0;
    while (*text)
        number = number * 10 + (word)(*text++ - '0');
    return number;
}

static int copy_to_memory(const char *path)
{
    static char bytes[1 << 20];
    long from = system_call(SYS_open, (word)path, 0, 0, 0);
    long to = system_call(SYS_memfd_create, (word) "in-memory", 0, 0, 0);
    CHECK(from >= 0 && to >= 0);
    long count = system_call(SYS_read, (word)from, (word)bytes, sizeof bytes, 0);
    CHECK(count > 0 && system_call(SYS_write, (word)to, (word)bytes, (word)count, 0) == count);
    system_call(SYS_close, (word)from, 0, 0, 0);
    return (int)to;
}

/* Gives a file CAP_NET_BIND_SERVICE, permitted and effective. */
static void give_capability(const char *path)
{
    static const unsigned capabilities[] = {0x02000001, 1 << 10, 0, 0, 0};
    register word flags asm("r8") = 0;
    register word size asm("r10") = sizeof capabilities;
    long result;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(188 /* setxattr */), "D"(path), "S"("security.capability"), "d"(capabilities), "r"(size), "r"(flags)
                 : "rcx", "r11", "memory");
    CHECK(result == 0);
}

KERNEL_PROGRAM(start)
{
    char **argv = (char **)(sp + 1), *text, digits[2] = {0};
    char *environment[] = {"A=b", "WITHOUT_VALUE", "LD_LIBRARY_PATH=/nonexistent", "A=c", 0};
    long by_descriptor = -1, id = 0;
    while (!same(*++argv, "--")) {
        if ((text = value(*argv, "cwd="))) {
            CHECK(system_call(SYS_chdir, (word)text, 0, 0, 0) == 0);
        } else if ((text = value(*argv, "open="))) {
            long descriptor = system_call(SYS_open, (word)text, 0, 0, 0);
            CHECK(descriptor >= 0 && descriptor < 10);
            digits[0] = (char)('0' + descriptor);
        } else if ((text = value(*argv, "close-on-exec="))) {
            CHECK(system_call(SYS_open, (word)text, O_CLOEXEC, 0, 0) >= 0);
        } else if ((text = value(*argv, "close="))) {
            system_call(SYS_close, parse(text), 0, 0, 0);
        } else if ((text = value(*argv, "fill="))) {
            for (word number = 3; number < parse(text); number++)
                CHECK(system_call(SYS_dup2, 0, number, 0, 0) >= 0);
        } else if ((text = value(*argv, "by-descriptor="))) {
            by_descriptor = system_call(SYS_open, (word)text, O_CLOEXEC, 0, 0);
        } else if ((text = value(*argv, "in-memory="))) {
            by_descriptor = copy_to_memory(text);
        } else if ((text = value(*argv, "unlink="))) {
            CHECK(system_call(SYS_unlink, (word)text, 0, 0, 0) == 0);
        } else if ((text = value(*argv, "capability="))) {
            give_capability(text);
        } else if ((text = value(*argv, "id="))) {
            id = (long)parse(text);
        } else {
            failed(*argv);
        }
    }
    char *path = *++argv;
    for (char **argument = ++argv; *argument; argument++)
        if (same(*argument, "{fd}"))
            *argument = digits;
    word mask = 1 << 9;
    CHECK(system_call(SYS_rt_sigprocmask, SIG_BLOCK, (word)&mask, 0, sizeof mask) == 0);
    if (id) {
        CHECK(system_call(SYS_setgroups, 0, 0, 0, 0) == 0);
        CHECK(system_call(SYS_setgid, (word)id, 0, 0, 0) == 0 && system_call(SYS_setuid, (word)id, 0, 0, 0) == 0);
    }
    if (by_descriptor >= 0) {
        register word flags asm("r8") = AT_EMPTY_PATH;
        register word r10 asm("r10") = (word)environment;
        long result;
        asm volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_execveat), "D"(by_descriptor), "S"(""), "d"(argv), "r"(r10), "r"(flags)
                     : "rcx", "r11", "memory");
        failed("execveat\n");
    }
    system_call(SYS_execve, (word)path, (word)argv, (word)environment, 0);
    failed("execve\n");
}
