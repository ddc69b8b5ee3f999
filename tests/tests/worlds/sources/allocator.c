/* An allocator that the program names first replaces malloc for libc, other native libraries, and libraries. */
#include "prelude.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef IN_libnative
static const char *owner(void *function)
{
    Dl_info info;
    if (!dladdr(function, &info))
        return "?";
    const char *slash = strrchr(info.dli_fname, '/');
    return slash ? slash + 1 : info.dli_fname;
}
static void *thread(void *unused)
{
    char *text = strdup("thread");
    printf("in thread %zu\n", malloc_usable_size(text));
    free(text);
    return unused;
}
void native_asks(void)
{
    pthread_t other;
    void *aligned = 0;
    int (*control)(const char *, void *, size_t *, void *, size_t) =
        (int (*)(const char *, void *, size_t *, void *, size_t))dlsym(RTLD_DEFAULT, "mallctl");
    printf("malloc of %s, free of %s\n", owner((void *)malloc), owner((void *)free));
    unsigned long before = 0, after = 0;
    size_t size = sizeof before;
    if (control)
        printf("%d ", control("thread.allocated", &before, &size, 0, 0));
    char *text = strdup(
        "a string of libc's, in the allocator's memory: long enough that its sizes show whose memory it is, as other "
        "allocators round in another way than this one does, by more");
    if (control)
        printf("%d ", control("thread.allocated", &after, &size, 0, 0));
    printf("%lu %zu %d\n", after - before, malloc_usable_size(text), posix_memalign(&aligned, 256, 1000));
    printf("aligned %zu %lu\n", malloc_usable_size(aligned), (unsigned long)aligned & 255);
    free(aligned);
    free(text);
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
}
#else
void native_asks(void);

int main(void)
{
    void *before = malloc(1000);
    native_asks();
    printf("program's %zu\n", malloc_usable_size(before));
    free(before);
    char *line = 0;
    printf("%d\n", asprintf(&line, "%0300d", 1));
    printf("program's %zu\n", malloc_usable_size(line));
    return SUCCESS;
}
#endif
