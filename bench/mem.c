/* Memory functions of several makers in one process: nanoseconds a call, by size.
 *
 * For each function and size a line `function size` and a figure for each maker: glibc, slulrtld, musl, and compiler_builtins
 * if BUILTINS is defined. Each figure is the mean over four pairs of alignments. Everything is measured twice, of which the first time warms up. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAKER(name)                                              \
    void *name##_memcpy(void *, const void *, size_t);           \
    void *name##_memmove(void *, const void *, size_t);          \
    void *name##_memset(void *, int, size_t);                    \
    int name##_memcmp(const void *, const void *, size_t);       \
    size_t name##_strlen(const char *);
MAKER(slul)
MAKER(musl)
#ifdef BUILTINS
MAKER(builtins)
#define AND_BUILTINS(function) , builtins_##function
#else
#define AND_BUILTINS(function)
#endif
#define MAKERS_OF(function) {function, slul_##function, musl_##function AND_BUILTINS(function)}

enum { ALIGNMENTS = 4, ROOM = 65536 + 8192 };
static const size_t sizes[] = {0,   1,   3,   8,    16,   31,   64,   100,   128,
                               256, 512, 1024, 2048, 4096, 16384, 65536};
/* Where in their pages destination and source begin. */
static const size_t alignments[ALIGNMENTS][2] = {{0, 5}, {3, 1037}, {16, 2048}, {7, 2055}};

static char one[ROOM] __attribute__((aligned(4096))), two[ROOM] __attribute__((aligned(4096)));
static volatile long sink;

typedef void *copier(void *, const void *, size_t);
typedef void *filler(void *, int, size_t);
typedef int comparer(const void *, const void *, size_t);
typedef size_t measurer(const char *);

static copier *volatile copiers[] = MAKERS_OF(memcpy);
static copier *volatile movers[] = MAKERS_OF(memmove);
static filler *volatile fillers[] = MAKERS_OF(memset);
static comparer *volatile comparers[] = MAKERS_OF(memcmp);
static measurer *volatile measurers[] = MAKERS_OF(strlen);

enum { MAKERS = sizeof measurers / sizeof *measurers };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Nanoseconds of a call, by what is in `call`. */
#define TIME(call)                              \
    ({                                          \
        double before = now();                  \
        for (long turn = 0; turn < turns; turn++) \
            sink = (long)(call);                \
        (now() - before) / (double)turns;       \
    })

static double measure(char which, int maker, size_t size, const size_t *alignment)
{
    long turns = (long)(300000 / (size / 16 + 20)) + 8;
    char *to = one + alignment[0], *from = two + alignment[1];
    double time = 0;
    copier *copy = which == 'c' ? copiers[maker] : movers[maker];
    filler *fill = fillers[maker];
    comparer *compare = comparers[maker];
    measurer *length = measurers[maker];
    switch (which) {
    case 'c':
    case 'm':
        return TIME(copy(to, from, size));
    case 's':
        return TIME(fill(to, 1, size));
    case 'e':
        return TIME(compare(to, from, size));
    default:
        from[size] = 0;
        time = TIME(length(from));
        from[size] = 1;
        return time;
    }
}

int main(void)
{
    static const char *const names[] = {"copy", "move", "set", "equal", "length"};
    static const char *const shown[] = {"memcpy", "memmove", "memset", "memcmp", "strlen"};
    memset(one, 1, sizeof one);
    memset(two, 1, sizeof two);
    for (int round = 0; round < 2; round++)
        for (int which = 0; which < 5; which++)
            for (size_t number = 0; number < sizeof sizes / sizeof *sizes; number++) {
                double sums[MAKERS] = {0};
                for (int pair = 0; pair < ALIGNMENTS; pair++)
                    for (int maker = 0; maker < MAKERS; maker++)
                        sums[maker] += measure(names[which][0], maker, sizes[number], alignments[pair]);
                if (round == 0)
                    continue;
                printf("%s %zu", shown[which], sizes[number]);
                for (int maker = 0; maker < MAKERS; maker++)
                    printf(" %.4f", sums[maker] / ALIGNMENTS);
                putchar('\n');
            }
    return 0;
}
