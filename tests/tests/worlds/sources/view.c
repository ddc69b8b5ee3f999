/* How the program and its library look to libc's own dlfcn functions, as native code and the program call them. */
#include "prelude.h"
#ifdef IN_libfree
int library_exports(void);
int library_exports(void)
{
    return 6;
}
void *dlsym(void *, const char *);
/* Behind the library in the search order there is libc. */
int library_asks_next(void);
int library_asks_next(void)
{
    int (*next)(const char *) = (int (*)(const char *))dlsym((void *)-1, "puts");
    __asm__ volatile("" ::: "memory");
    return next != 0;
}
#else
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#ifdef IN_libapart
int apart(void)
{
    return 8;
}
#elif defined IN_libnative
int native_number = 4;
static const char *base(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : 0;
    return slash ? slash + 1 : path ? path : "none";
}
void native_describes(const char *what, void *address)
{
    Dl_info info;
    if (!dladdr(address, &info)) {
        printf("%s is nowhere\n", what);
        return;
    }
    printf("%s is in %.12s, %s\n", what, base(info.dli_fname), info.dli_sname ? info.dli_sname : "unnamed");
}
static int count(struct dl_phdr_info *info, size_t size, void *address)
{
    (void)size;
    for (int at = 0; at < info->dlpi_phnum; at++) {
        const ElfW(Phdr) *phdr = &info->dlpi_phdr[at];
        unsigned long place = *(unsigned long *)address - info->dlpi_addr - phdr->p_vaddr;
        if (phdr->p_type == PT_LOAD && place < phdr->p_memsz)
            return 1;
    }
    return 0;
}
void native_iterates(const char *what, void *address)
{
    printf("%s listed %d\n", what, dl_iterate_phdr(count, &address));
}
void native_finds(const char *name)
{
    printf("%s found %d\n", name, dlsym(RTLD_DEFAULT, name) != 0);
}
#else
void native_describes(const char *, void *), native_iterates(const char *, void *), native_finds(const char *);
int library_exports(void), library_asks_next(void);
extern int native_number;
int program_exports(void)
{
    return 5;
}
int program_data = 3;

int main(void)
{
    native_describes("program_exports", (void *)program_exports);
    native_describes("program_data", &program_data);
    native_describes("native_number", &native_number);
    native_finds("program_exports");
    native_finds("program_data");
    native_finds("native_number");
    native_finds("nowhere");
    native_iterates("main", (void *)main);
    void *self = dlopen(0, RTLD_NOW);
    printf("self %d\n", dlsym(self, "program_exports") == (void *)program_exports);
    void *apart = dlopen("libapart.so", RTLD_NOW);
    int (*function)(void) = apart ? (int (*)(void))dlsym(apart, "apart") : 0;
    printf("apart %d\n", function ? function() : -1);
    int (*next)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "puts");
    printf("next %d\n", next != 0);
#ifdef LIBRARY
    native_finds("library_exports");
    native_describes("library_exports", dlsym(RTLD_DEFAULT, "library_exports"));
    native_iterates("library_exports", dlsym(RTLD_DEFAULT, "library_exports"));
    printf("library's next %d\n", library_asks_next());
#endif
    return SUCCESS;
}
#endif
#endif
