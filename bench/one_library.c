/* A program without libc, and with -DLIBRARY the library that it calls. */
#ifdef LIBRARY
int answer(void)
{
    return 17;
}
#else
#include <slul.h>
SLUL_ABI_NOTE(SLUL_CALL_ENTRY)

int answer(void);

int _start(int argc, char **argv, char **envp, const void *auxv)
{
    (void)argc, (void)argv, (void)envp, (void)auxv;
    return answer();
}
#endif
