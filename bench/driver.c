/* Starts programs in turn and times each from vfork to the end of its process.
 *
 *     driver CPU ROUNDS EACH  STATUS [NAME=VALUE]... PROGRAM [ARGUMENT]...  --  STATUS ...
 *
 * Pinned to one CPU. In each round every program is run EACH times, by turns; a line
 * `program round nanoseconds faults user system` is printed for each: the median of the times, and the means of the minor
 * page faults and of the nanoseconds that the kernel counted as user's and its own. The first round only warms up.
 * A program that ends otherwise than with STATUS is an error. Programs write to /dev/null. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct job {
    int status;
    char **environment, **arguments;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Takes the words up to `--` apart; returns where the next job begins. */
static char **take(char **words, char **end, struct job *job)
{
    static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", home[] = "HOME=/home/user", lang[] = "LANG=C.UTF-8";
    job->status = atoi(*words++);
    job->environment = calloc(16, sizeof(char *));
    size_t count = 0;
    job->environment[count++] = path;
    job->environment[count++] = home;
    job->environment[count++] = lang;
    while (words < end && strchr(*words, '=') && count < 15)
        job->environment[count++] = *words++;
    job->arguments = words;
    while (words < end && strcmp(*words, "--"))
        words++;
    *words = NULL;
    return words + 1;
}

/* Sums over the runs of a round. */
struct usage {
    long faults;
    double user, system;
};

static double nanoseconds(struct timeval time)
{
    return (double)time.tv_sec * 1e9 + (double)time.tv_usec * 1e3;
}

static double run(const struct job *job, struct usage *sum)
{
    struct rusage usage;
    int status;
    double before = now();
    pid_t child = vfork();
    if (child == 0) {
        execve(job->arguments[0], job->arguments, job->environment);
        _exit(126);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child)
        err(1, "%s", job->arguments[0]);
    double time = now() - before;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != job->status)
        errx(1, "%s: wait status %#x, not exit status %d", job->arguments[0], (unsigned)status, job->status);
    sum->faults += usage.ru_minflt;
    sum->user += nanoseconds(usage.ru_utime);
    sum->system += nanoseconds(usage.ru_stime);
    return time;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        errx(2, "usage: driver CPU ROUNDS EACH STATUS [NAME=VALUE]... PROGRAM [ARGUMENT]... [-- ...]");
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)atoi(argv[1]), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        err(1, "sched_setaffinity");
    int rounds = atoi(argv[2]), each = atoi(argv[3]), count = 0;
    struct job *jobs = calloc((size_t)argc, sizeof *jobs);
    char **end = argv + argc;
    for (char **words = argv + 4; words < end;)
        words = take(words, end, &jobs[count++]);

    FILE *results = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 3), "w");
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (!results || null < 0 || dup2(null, 1) < 0)
        err(1, "/dev/null");
    double *times = calloc((size_t)count * (size_t)each, sizeof *times);
    struct usage *sums = calloc((size_t)count, sizeof *sums);
    for (int round = -1; round < rounds; round++) {
        memset(sums, 0, (size_t)count * sizeof *sums);
        for (int turn = 0; turn < each; turn++)
            for (int which = 0; which < count; which++)
                times[which * each + turn] = run(&jobs[which], &sums[which]);
        for (int which = 0; which < count && round >= 0; which++) {
            double *own = times + which * each;
            qsort(own, (size_t)each, sizeof *own, ascending);
            struct usage sum = sums[which];
            fprintf(results, "%d %d %.0f %.2f %.0f %.0f\n", which, round, own[each / 2], (double)sum.faults / each,
                    sum.user / each, sum.system / each);
        }
    }
    return fclose(results) != 0;
}
