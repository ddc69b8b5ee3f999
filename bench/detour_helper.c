/* The helper: an ordinary dynamic executable of the system's libc, which hands over dlsym and leaves, never to return. */
#include <dlfcn.h>
#include <stdlib.h>

#include "detour.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 1;
    struct escape *escape = (struct escape *)strtoul(argv[1], NULL, 16);
    escape->dlsym = dlsym;
    escape->leave();
    return 1;
}
