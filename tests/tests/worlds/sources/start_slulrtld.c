/* A program's code in place of start files: slulrtld calls the entry, and its result is the exit status. */
#include <slul.h>

int main(int argc, char **argv, char **envp);

/* libc's static part of atexit() says by this whose handler it is. */
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;

SLUL_ABI_NOTE(SLUL_CALL_ENTRY)

int _start(int argc, char **argv, char **envp, const void *auxv);
int _start(int argc, char **argv, char **envp, const void *auxv)
{
    (void)auxv;
    return main(argc, argv, envp);
}

#ifdef LEAVES
void world_exit(int status)
{
    slul_exit(status);
}
#endif

#ifdef OPENS
/* The caller that slul_dlsym() sees is this program, so no tail calls. */
void *world_open(const char *name, int flags)
{
    void *handle = slul_dlopen(name, flags);
    __asm__ volatile("" ::: "memory");
    return handle;
}
void *world_find(void *handle, const char *name)
{
    void *address = slul_dlsym(handle, name);
    __asm__ volatile("" ::: "memory");
    return address;
}
void *world_finder(void)
{
    return (void *)slul_dlsym;
}
int world_close(void *handle)
{
    return slul_dlclose(handle);
}
const char *world_error(void)
{
    return slul_dlerror();
}
int world_load_libc(void)
{
    return slul_load_libc();
}
#endif
