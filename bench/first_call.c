/* A program without libc that names libc: with an argument it calls `puts`, which brings libc in; without, it does not. */
#include <slul.h>
SLUL_ABI_NOTE(SLUL_CALL_ENTRY)

int puts(const char *);

int _start(int argc, char **argv, char **envp, const void *auxv)
{
    (void)argv, (void)envp, (void)auxv;
    return argc > 1 && puts("hello") < 0;
}
