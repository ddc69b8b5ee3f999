// A program that changes its process as its arguments say, and then calls a native function for the first time.
//# variants: deferred full noted asked opens run-dot run-empty rpath-dot needed kept evil evil-needed
//# native[full noted asked opens run-dot run-empty rpath-dot]: libnative.so
//# native[kept]: libnative.so -DKEPT
//# native[evil]: libnative.so -DEVIL
//# native[needed]: libnative.so -Wl,-soname,./libnative.so
//# native[evil-needed]: libnative.so -DEVIL -Wl,-soname,./libnative.so
//# program[deferred]: -DDEFERRED
//# program[noted]: -DNOTED
//# program[asked]: -DASKED
//# program[opens]: -DOPENS
//# rpath[run-dot rpath-dot]: .
//# rpath[run-empty]: /nowhere:
//# rpath[deferred needed evil-needed]: none
//# program[rpath-dot]: -Wl,--disable-new-dtags
//# link[asked opens]: {stage}/usr/lib/slul/x86_64/libslulrtld.so
//# link: -l:libc.so.6
#ifdef IN_libnative
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static char directory[4096];

__attribute__((constructor)) static void begin(void)
{
    if (!getcwd(directory, sizeof directory - 1))
        *directory = 0;
}

/* The directory in which this constructor ran. */
const char *began_in(void)
{
    for (char *end = directory;; end++)
        if (!*end) {
            *end = '\n';
            return directory;
        }
}

/* The default size of threads' stacks in KiB. */
const char *stacks(void)
{
    static char text[32];
    pthread_attr_t attributes;
    size_t size = 0;
    if (pthread_getattr_default_np(&attributes) == 0)
        pthread_attr_getstacksize(&attributes, &size);
    snprintf(text, sizeof text, "%zu\n", size >> 10);
    return text;
}

const char *whose(void)
{
    // What needs libc is native.
    if (getppid() < 0)
        return "no parent\n";
#ifdef EVIL
    return "evil\n";
#elif defined KEPT
    return "kept\n";
#else
    return "start\n";
#endif
}
#else
#ifdef NOTED
#define PROGRAM_FLAGS (SLUL_CALL_ENTRY | SLUL_EAGER_LIBC)
#endif
#include "libcfree.h"

const char *whose(void), *began_in(void), *stacks(void);
long getppid(void);

enum { SYS_unshare = 272, SYS_chroot = 161, SYS_mount = 165, SYS_pivot_root = 155, SYS_umount2 = 166, SYS_prctl = 157 };
enum { CLONE_NEWNS = 0x20000, CLONE_NEWUSER = 0x10000000, MS_BIND = 4096, MS_REC = 16384, MS_PRIVATE = 1 << 18 };

static void be(long result)
{
    if (result < 0) {
        say("can not\n");
        leave(1);
    }
}

static void call(long number, word a, word b, word c, word d)
{
    long result;
    register word fourth asm("r10") = d, fifth asm("r8") = 0;
    asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth) : "rcx", "r11", "memory");
    be(result);
}

static void filter(unsigned number, unsigned answer)
{
    const struct {
        unsigned short code;
        unsigned char yes, no;
        unsigned value;
    } steps[] = {{0x20, 0, 0, 0}, {0x15, 0, 1, number}, {6, 0, 0, answer}, {6, 0, 0, 0x7fff0000}};
    const struct {
        unsigned short count;
        const void *steps;
    } program = {4, steps};
    call(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0);
    call(SYS_prctl, 22 /* PR_SET_SECCOMP */, 2, (word)&program, 0);
}

static unsigned number_in(const char *text)
{
    unsigned value = 0;
    for (; *text; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value;
}

/* Does one thing; returns the number of arguments used. */
static int change(char **argument, char **envp)
{
    const char *what = argument[0];
    const word path = (word)argument[1];
    if (same(what, "user"))
        call(SYS_unshare, CLONE_NEWUSER, 0, 0, 0);
    else if (same(what, "namespace"))
        call(SYS_unshare, CLONE_NEWNS, 0, 0, 0);
    else if (same(what, "no-new-privileges"))
        call(SYS_prctl, 38, 1, 0, 0);
    else if (same(what, "close"))
        call(SYS_close_range, 3, ~0u, 0, 0);
    else if (same(what, "nobody")) {
        call(116 /* setgroups */, 0, 0, 0, 0);
        call(119 /* setresgid */, 65534, 65534, 65534, 0);
        call(117 /* setresuid */, 65534, 65534, 65534, 0);
    } else if (same(what, "landlock")) {
        const word handled = (1 << 13) - 1;
        long set = system_call(444 /* landlock_create_ruleset */, (word)&handled, sizeof handled, 0, 0);
        be(set);
        call(SYS_prctl, 38, 1, 0, 0);
        call(446 /* landlock_restrict_self */, (word)set, 0, 0, 0);
    } else if (same(what, "scribble")) {
        // What setproctitle(3) of some systems does: a title over all strings of the environment.
        static const char title[] = "LD_PRELOAD=/nowhere/libtitle.so";
        for (; *envp; envp++)
            for (word place = 0; (*envp)[place]; place++)
                (*envp)[place] = title[place % (sizeof title - 1)];
    } else if (same(what, "directory")) {
        call(80 /* chdir */, path, 0, 0, 0);
        return 2;
    } else if (same(what, "descriptor")) {
        long directory = system_call(SYS_open, path, 0200000 /* O_DIRECTORY */, 0, 0);
        call(81 /* fchdir */, (word)directory, 0, 0, 0);
        return 2;
    } else if (same(what, "deep")) {
        // A directory with a path that is longer than a path may be.
        static char name[201];
        for (word place = 0; place < sizeof name - 1; place++)
            name[place] = 'd';
        for (int depth = 0; depth < 25; depth++) {
            call(83 /* mkdir */, (word)name, 0777, 0, 0);
            call(80, (word)name, 0, 0, 0);
        }
    } else if (same(what, "deleted")) {
        call(83, path, 0777, 0, 0);
        call(80, path, 0, 0, 0);
        call(84 /* rmdir */, path, 0, 0, 0);
        return 2;
    } else if (same(what, "unreachable")) {
        call(SYS_mount, 0, (word) "/", 0, MS_REC | MS_PRIVATE);
        call(SYS_mount, path, path, 0, MS_BIND);
        call(80, path, 0, 0, 0);
        call(SYS_umount2, path, 2, 0, 0);
        return 2;
    } else if (same(what, "link")) {
        call(88 /* symlink */, path, (word) "libnative.so", 0, 0);
        return 2;
    } else if (same(what, "limit")) {
        const word limit[] = {1 << 20, 1 << 20};
        call(302 /* prlimit64 */, 0, 3 /* RLIMIT_STACK */, (word)limit, 0);
#ifndef DEFERRED
    } else if (same(what, "began")) {
        say(began_in());
    } else if (same(what, "stacks")) {
        say(stacks());
#endif
    } else if (same(what, "execute")) {
        call(SYS_execve, path, (word)(argument + 1), (word)envp, 0);
#ifdef OPENS
    } else if (same(what, "open")) {
        void *handle = slul_dlopen(argument[1], SLUL_RTLD_NOW);
        if (handle) {
            say(((const char *(*)(void))slul_dlsym(handle, "whose"))());
            leave(SUCCESS);
        }
        say("not there\n");
        return 2;
#endif
    } else if (same(what, "root")) {
        call(SYS_chroot, path, 0, 0, 0);
        return 2;
    } else if (same(what, "pivot")) {
        call(SYS_mount, 0, (word) "/", 0, MS_REC | MS_PRIVATE);
        call(SYS_mount, path, path, 0, MS_BIND | MS_REC);
        call(80, path, 0, 0, 0);
        call(SYS_pivot_root, (word) ".", (word) ".", 0, 0);
        call(SYS_umount2, (word) ".", 2 /* MNT_DETACH */, 0, 0);
        return 2;
    } else if (same(what, "forbid")) {
        filter(number_in(argument[1]), 0x00050001 /* SECCOMP_RET_ERRNO, EPERM */);
        return 2;
#ifdef ASKED
    } else if (same(what, "ask")) {
        int result = slul_load_libc();
        say(result == 0 ? "there\n" : result == -1 ? "EPERM\n" : "another error\n");
        CHECK(slul_libc_state() == (result == 0 ? SLUL_LIBC_PRESENT : SLUL_LIBC_ABSENT));
#endif
    } else
        leave(2);
    return 1;
}

PROGRAM
{
    for (int next = 1; next < argc; next += change(argv + next, envp))
        ;
#ifdef DEFERRED
    CHECK(getppid() > 0);
    say("start\n");
#else
    say(whose());
#endif
    return SUCCESS;
}
#endif
