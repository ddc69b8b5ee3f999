/* libc cannot be brought in, by what the program itself has put in the way: then that is said, the program is as it was,
   and once the obstacle is gone, it can be brought in. */
#include "prelude.h"
#ifdef IN_libnative
int native_answer(void)
{
    return 17;
}
#else
#include <sys/resource.h>
#include <sys/syscall.h>

/* As in <linux/filter.h> and <linux/seccomp.h>, which musl's compiler driver does not find. */
struct instruction {
    unsigned short code;
    unsigned char if_true, if_false;
    unsigned value;
};
struct code {
    unsigned short count;
    struct instruction *instructions;
};
enum { NUMBER = 0, FIRST_ARGUMENT = 16, THIRD_ARGUMENT = 32 };
#define LOAD(offset) {0x20, 0, 0, (offset)}
#define UNLESS(value, skip) {0x15, 0, (skip), (value)}
#define IF(value, skip) {0x15, (skip), 0, (value)}
#define UNLESS_ANY(bits, skip) {0x45, 0, (skip), (bits)}
#define REFUSE {0x06, 0, 0, 0x50000 | 13}
#define ALLOW {0x06, 0, 0, 0x7fff0000}

static __attribute__((unused)) void filter(struct instruction *code, unsigned short count)
{
    struct code program = {count, code};
    CHECK(raw_call(SYS_prctl, 38, 1, 0, 0) == 0);
    CHECK(raw_call(SYS_prctl, 22, 2, (long)&program, 0) == 0);
}
#define FILTER(...)                                                      \
    do {                                                                 \
        struct instruction code[] = {__VA_ARGS__};                       \
        filter(code, (unsigned short)(sizeof code / sizeof *code));      \
    } while (0)

static __attribute__((unused)) long limit_before;
static __attribute__((unused)) void set_limit(int what, unsigned long soft)
{
    struct rlimit limit;
    CHECK(raw_call(SYS_prlimit64, 0, what, 0, (long)&limit) == 0);
    limit_before = (long)limit.rlim_cur;
    limit.rlim_cur = soft;
    CHECK(raw_call(SYS_prlimit64, 0, what, (long)&limit, 0) == 0);
}

static long root __attribute__((unused));
static void obstruct(const char *directory)
{
    (void)directory;
#if defined CHROOT
    root = raw_call(SYS_open, (long)"/", 0, 0, 0);
    if (raw_call(SYS_getuid, 0, 0, 0, 0) != 0)
        CHECK(raw_call(SYS_unshare, 0x10000000, 0, 0, 0) == 0);
    CHECK(root >= 0 && raw_call(SYS_chroot, (long)directory, 0, 0, 0) == 0);
#elif defined MEMORY
    char text[64] = "";
    long file = raw_call(SYS_open, (long)"/proc/self/statm", 0, 0, 0), pages = 0;
    CHECK(raw_call(SYS_read, file, (long)text, sizeof text - 1, 0) > 0);
    for (char *digit = text; *digit >= '0' && *digit <= '9'; digit++)
        pages = pages * 10 + *digit - '0';
    raw_call(SYS_close, file, 0, 0, 0);
    set_limit(RLIMIT_AS, (unsigned long)(pages + 8) * 4096);
#elif defined DESCRIPTORS
    set_limit(RLIMIT_NOFILE, 0);
#elif defined NO_OPEN
    FILTER(LOAD(NUMBER), IF(SYS_openat, 2), IF(SYS_open, 1), ALLOW, REFUSE);
#elif defined NO_CODE
    FILTER(LOAD(NUMBER), IF(SYS_mmap, 2), IF(SYS_mprotect, 1), ALLOW, LOAD(THIRD_ARGUMENT), UNLESS_ANY(4, 1), REFUSE, ALLOW);
#elif defined NO_THREAD_POINTER
    FILTER(LOAD(NUMBER), UNLESS(SYS_arch_prctl, 3), LOAD(FIRST_ARGUMENT), UNLESS(0x1002, 1), REFUSE, ALLOW);
#endif
}

/* Whether the obstacle could be removed. */
static __attribute__((unused)) int clear(void)
{
#if defined CHROOT
    CHECK(raw_call(SYS_fchdir, root, 0, 0, 0) == 0 && raw_call(SYS_chroot, (long)".", 0, 0, 0) == 0);
#elif defined MEMORY
    set_limit(RLIMIT_AS, (unsigned long)limit_before);
#elif defined DESCRIPTORS
    set_limit(RLIMIT_NOFILE, (unsigned long)limit_before);
#else
    return 0;
#endif
    return 1;
}

/* Programs with thread-local storage and native needs have libc before their entry. */
#ifdef IMPLICIT
#define LOCAL
#else
#define LOCAL __thread
#endif
static __attribute__((unused)) LOCAL int local = 5;
static LOCAL int handled;
static __attribute__((unused)) void handler(int signal)
{
    handled += signal;
}
__asm__("restorer: mov $15, %eax\n syscall\n");
void restorer(void) __attribute__((visibility("hidden")));

/* Thread-local storage, signals and their mask are as the program left them. */
static __attribute__((unused)) void is_as_before(int round)
{
    unsigned long mask = 1;
    CHECK(local == 5 + round);
    local++;
    CHECK(raw_call(SYS_rt_sigprocmask, 0, 0, (long)&mask, 8) == 0 && mask == 1UL << 11);
    CHECK(raw_call(SYS_kill, raw_call(SYS_getpid, 0, 0, 0, 0), 10, 0, 0) == 0);
    CHECK(handled == 10 * (round + 1));
}

/* What the process has: mappings, and the lowest free descriptor. Where these can not be seen, 0. */
static __attribute__((unused)) long possessions(void)
{
    static char text[1 << 14];
    long file = raw_call(SYS_open, (long)"/proc/self/maps", 0, 0, 0), count, lines = 0;
    if (file < 0)
        return 0;
    while ((count = raw_call(SYS_read, file, (long)text, sizeof text, 0)) > 0)
        for (long at = 0; at < count; at++)
            lines += text[at] == '\n';
    raw_call(SYS_close, file, 0, 0, 0);
    return lines * 1000 + file;
}

int puts(const char *);

int main(int argc, char **argv)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
    } action = {handler, 0x04000000, restorer, 0};
    unsigned long blocked = 1UL << 11;
    CHECK(argc == 2);
    CHECK(raw_call(SYS_rt_sigaction, 10, (long)&action, 0, 8) == 0);
    CHECK(raw_call(SYS_rt_sigprocmask, 0, (long)&blocked, 0, 8) == 0);
    obstruct(argv[1]);
    say("before\n");
#ifdef IMPLICIT
    puts("not reached");
#else
    is_as_before(0);
    for (int time = 0; time < 2; time++) {
        int result = world_load_libc();
        put("load", result < 0 ? -1 : result);
    }
    is_as_before(1);
    put("open", world_open("libnative.so", 2) != 0);
    put("said", world_error() != 0);
    // Failing again and again costs nothing.
    long had = possessions();
    for (int time = 0; time < 20; time++)
        CHECK(world_load_libc() < 0);
    CHECK(possessions() == had);
    is_as_before(2);
    if (!clear())
        return SUCCESS;
    put("load", world_load_libc());
    is_as_before(3);
    void *native = world_open("libnative.so", 2);
    if (!native)
        say(world_error());
    put("answer", ((int (*)(void))world_find(native, "native_answer"))());
    is_as_before(4);
#endif
    return SUCCESS;
}
#endif
