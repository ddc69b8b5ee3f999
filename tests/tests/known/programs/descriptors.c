// A set-id program that says where its first descriptors lead.
//# variants: plain library native
//# setid: 1
//# needs: root
//# lib[library]: libone.so
//# program[library]: -DLIBRARY
//# link[native]: -l:libz.so.1
//# program[native]: -DNATIVE
#include "libcfree.h"

int one(void);
const char *zlibVersion(void);

#ifdef IN_libone
int one(void)
{
    return 1;
}
#else

enum { F_GETFD = 1, F_GETFL = 3, O_RDWR = 2, O_ACCMODE = 3, SYS_fstat = 5 };

/* Whether it is /dev/null, open to read and to write. */
static int leads_nowhere(word descriptor)
{
    struct {
        word device, inode, links;
        unsigned mode, user, group, unused;
        word special, rest[12];
    } status;
    CHECK(system_call(SYS_fstat, descriptor, (word)&status, 0, 0) == 0);
    return (status.mode & 0170000) == 0020000 && status.special == (1 << 8 | 3)
        && (system_call(SYS_fcntl, descriptor, F_GETFL, 0, 0) & O_ACCMODE) == O_RDWR;
}

/* descriptors CLOSED: that bit n is set says that descriptor n was closed. */
PROGRAM
{
    word closed = (word)(argv[1][0] - '0');
    CHECK(auxv_value(auxv, AT_SECURE) == 1);
#ifdef LIBRARY
    CHECK(one() == 1);
#endif
#ifdef NATIVE
    CHECK(begins(zlibVersion(), "1."));
#endif
    for (word descriptor = 0; descriptor < 3; descriptor++)
        if (closed >> descriptor & 1)
            CHECK(leads_nowhere(descriptor));
    for (word descriptor = 3; descriptor < 64; descriptor++)
        CHECK(system_call(SYS_fcntl, descriptor, F_GETFD, 0, 0) < 0);
    return SUCCESS;
}
#endif
