/* The names of start_slulrtld.c in an ordinary executable, whose start files are the compiler driver's. */
#include <dlfcn.h>
#include <stdlib.h>

#ifdef LEAVES
void world_exit(int status)
{
    exit(status);
}
#endif

#ifdef OPENS
void *world_open(const char *name, int flags)
{
    void *handle = dlopen(name, flags);
    __asm__ volatile("" ::: "memory");
    return handle;
}
void *world_find(void *handle, const char *name)
{
    void *address = dlsym(handle, name);
    __asm__ volatile("" ::: "memory");
    return address;
}
void *world_finder(void)
{
    return (void *)dlsym;
}
int world_close(void *handle)
{
    return dlclose(handle);
}
const char *world_error(void)
{
    return dlerror();
}
int world_load_libc(void)
{
    return 0;
}
#endif

/* ISO C wants something in every file. */
extern int start_of_libc;
