// A program with a library of libc's world, which says what it was given.
#include "libcfree.h"

const char *zlibVersion(void);

static int number = 4;
static int *volatile place = &number;
static char large[1 << 16];

PROGRAM
{
    for (int i = 0; i < argc; i++)
        say(argv[i]), say(" ");
    CHECK(*place == 4 && !large[sizeof large - 1]);
    say(argc < 3 ? "-" : zlibVersion()[0] == '1' ? "zlib" : "?"), say("\n");
    return SUCCESS;
}
