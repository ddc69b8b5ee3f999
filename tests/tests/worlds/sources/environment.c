/* The environment as libc has it, and as its children get it. */
#include "prelude.h"
#ifdef IN_libpreload
#include <stdio.h>
int native_number(void)
{
    return 99;
}
__attribute__((constructor)) static void up(void)
{
    setvbuf(stdout, 0, _IOFBF, 4096);
    puts("preload up");
}
__attribute__((destructor)) static void down(void)
{
    puts("preload down");
}
#elif defined IN_libnative
#include <stdlib.h>
int native_number(void)
{
    return 1;
}
const char *native_getenv(const char *name)
{
    return getenv(name);
}
#else
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int native_number(void);
const char *native_getenv(const char *);

static void show(const char *name)
{
    const char *value = getenv(name), *native = native_getenv(name);
    printf("%s=%s %s\n", name, value ? value : "none", native ? native : "none");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv;
#ifdef EDITED
    /* The list is libc's, too. */
    for (char **variable = envp; *variable; variable++)
        if ((*variable)[0] == 'A' && (*variable)[1] == '=')
            *variable = "A=the program's";
#endif
    printf("number %d\n", native_number());
    show("A");
#ifdef EDITED
    for (char **variable = envp; *variable; variable++)
        if ((*variable)[0] == 'A' && (*variable)[1] == '=')
            printf("own %s\n", *variable);
#else
    static char put_one[] = "P=put";
    (void)envp;
    setenv("B", "two", 1);
    setenv("A", "not this", 0);
    show("A");
    setenv("A", "three", 1);
    putenv(put_one);
    memcpy(put_one + 2, "new", 3);
    unsetenv("C");
    show("A");
    show("B");
    show("C");
    show("P");
    show("LD_TRACE_LOADED_OBJECTS");
    show("LD_SHOW_AUXV");
#ifndef CHILDLESS
    fflush(stdout);
    int status = system("echo child: $A $B $C $P $LD_TRACE_LOADED_OBJECTS");
    printf("status %d\n", status);
    FILE *pipe = popen("echo piped: $A", "r");
    char line[80] = "";
    printf("%s", fgets(line, sizeof line, pipe) ? line : "nothing\n");
    pclose(pipe);
#endif
    clearenv();
    show("A");
    setenv("A", "last", 1);
    show("A");
#endif
    void *(*volatile allocate)(size_t) = malloc;
    unsigned char *memory = allocate(100);
    int perturbed = memory[50] == 0x55 && memory[60] == 0x55;
    printf("perturbed %d\n", perturbed);
    free(memory);
    return SUCCESS;
}
#endif
