/* Native data as the program sees it and as native code does: one place, one value. */
#include "prelude.h"
#ifdef IN_libfree
/* Native data in a library without libc. */
extern int native_number;
extern long native_table[6];
extern int *native_pointer;
extern __thread int native_local;
extern __thread long native_zeroed[3];
extern void *stdout;
extern char **environ, *optarg;
extern int optind;
void *library_place(int which)
{
    void *places[] = {&native_number, native_table, &native_pointer, &native_local, native_zeroed,
                      &stdout,        &environ,     &optarg,         &optind};
    return places[which];
}
int library_sum(void)
{
    return native_number + *native_pointer + native_local++;
}
#else
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef IN_libnative
int native_number = 3;
long native_table[6] = {1, 2, 3, 4, 5, 6};
static int target = 8;
int *native_pointer = &target;
__thread int native_local = 5;
__thread long native_zeroed[3];
void *native_place(int which)
{
    void *places[] = {&native_number, native_table, &native_pointer, &native_local, native_zeroed,
                      (void *)&stdout, &environ,     &optarg,         &optind};
    return places[which];
}
long native_change(void)
{
    native_number++;
    native_table[5]++;
    native_local++;
    return native_number + native_table[5] + native_local + *native_pointer;
}
#else
extern int native_number;
extern long native_table[6];
extern int *native_pointer;
extern __thread int native_local;
extern __thread long native_zeroed[3];
void *native_place(int);
long native_change(void);
void *library_place(int);
int library_sum(void);

/* Addresses in data, too. */
static int *const in_data = &native_number;
static FILE *const *const stream = &stdout;
static char ***const variables = &environ;

int main(int argc, char **argv)
{
    printf("%d %ld %d %d %ld\n", native_number, native_table[5], *native_pointer, native_local, native_zeroed[2]);
    native_number = 30;
    native_table[5] = 60;
    native_local = 50;
    printf("changed %ld\n", native_change());
    printf("%d %ld %d\n", native_number, native_table[5], native_local);
    printf("places %d%d%d%d%d%d%d%d%d\n", native_place(0) == &native_number, native_place(1) == native_table,
           native_place(2) == &native_pointer, native_place(3) == &native_local, native_place(4) == native_zeroed,
           native_place(5) == &stdout, native_place(6) == &environ, native_place(7) == &optarg,
           native_place(8) == &optind);
    int same = 0;
    for (int which = 0; which < 9; which++)
        same += library_place(which) == native_place(which);
    printf("library %d %d %d\n", same, library_sum(), native_local);
    printf("in data %d%d%d\n", in_data == &native_number, *stream == stdout, *variables == environ);
    fprintf(stdout, "environ %s\n", environ[0] ? environ[0] : "empty");
    setenv("LATER", "1", 1);
    int later = 0;
    for (char **variable = environ; *variable; variable++)
        later += !strcmp(*variable, "LATER=1");
    printf("later %d %s\n", later, getenv("LATER"));
    for (int option; (option = getopt(argc, argv, "ab:")) != -1;)
        printf("option %c %s %d\n", option, optarg ? optarg : "none", optind);
    printf("left %s\n", argv[optind]);
    return fputs("fputs\n", stdout) < 0 ? 1 : SUCCESS;
}
#endif
#endif
