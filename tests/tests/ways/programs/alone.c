// An ordinary static program: it relocates itself, seals its own RELRO, and has its own thread-local storage and stdio.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

static int constructed;
static __thread int local = 5;
static int number = 7;
static int *const volatile place = &number;
static size_t (*volatile resolved)(const char *) = strlen;

__attribute__((constructor)) static void construct(void)
{
    constructed++;
}

static void finish(void)
{
    puts("finished");
}

int main(int argc, char **argv)
{
    atexit(finish);
    char *text = malloc(100000);
    snprintf(text, 100000, "%d %s %g", argc, argv[argc - 1], 1.5);
    printf("%s %zu\n", text, resolved(text));
    printf("constructed %d, local %d, number %d, base %lu\n", constructed, local, *place, getauxval(AT_BASE));
    printf("%s\n", getenv("LD_BIND_NOW") ? "named" : "unnamed");
    free(text);
    return 17;
}
