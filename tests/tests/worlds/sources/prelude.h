/* What every object has, in both worlds and before any libc: a way to say what it finds, by write(2). */
#ifndef PRELUDE_H
#define PRELUDE_H

enum { SUCCESS = 17 };

static inline long raw_call(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static inline void say(const char *text)
{
    long count = 0;
    while (text[count])
        count++;
    raw_call(1, 1, (long)text, count, 0);
}

/* "what value\n", in one system call. */
static inline void put(const char *what, long value)
{
    char line[96], digits[24];
    unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
    int used = 0, count = 0;
    while (*what && used < 64)
        line[used++] = *what++;
    line[used++] = ' ';
    if (value < 0)
        line[used++] = '-';
    do
        digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (count)
        line[used++] = digits[--count];
    line[used++] = '\n';
    raw_call(1, 1, (long)line, used, 0);
}

#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)
#define CHECK(condition) \
    ((condition) ? (void)0 : (say("not so: " __FILE_NAME__ ":" TEXT_OF(__LINE__) ": " #condition "\n"), (void)raw_call(231, 1, 0, 0, 0)))

/* A constructor and a destructor that say whose they are. */
#define SAYS_UP_AND_DOWN(who)                                                                    \
    __attribute__((constructor)) static void says_up(void) { say(who " up\n"); }                 \
    __attribute__((destructor)) static void says_down(void) { say(who " down\n"); }

#ifdef __cplusplus
extern "C" {
#endif
/* What the two worlds have under different names. */
__attribute__((noreturn)) void world_exit(int status);
void *world_open(const char *name, int flags);
void *world_find(void *handle, const char *name);
void *world_finder(void);
int world_close(void *handle);
const char *world_error(void);
int world_load_libc(void);
#ifdef __cplusplus
}
#endif

#endif
