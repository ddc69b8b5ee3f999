/* A program without libc that can open libraries: with an argument it tries to open one; without, it ends at once. */
#include <slul.h>
SLUL_ABI_NOTE(SLUL_CALL_ENTRY)

int _start(int argc, char **argv, char **envp, const void *auxv)
{
    (void)argv, (void)envp, (void)auxv;
    return argc > 1 && slul_dlopen("/nonexistent", SLUL_RTLD_NOW);
}
