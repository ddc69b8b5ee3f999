/* A program that uses all of the library, and says whether it was as it should be. */
#include "libcfree.h"

const char *word_of(unsigned);
extern int counter, *place;
extern __thread int local;
int *place_of_local(void);
int began_once(void);
int ask(void);
int optional(void);
int chosen(void);
int answer(void);
typedef int function(void);

static __thread int own = 9;
static int first;
static function *const functions[] = {ask, chosen, answer};
static const char *const names[] = {"ask", "chosen", "answer"};

int shared(void)
{
    return 2;
}

#ifdef GLIBC
/* Its libc's start-up code runs those of the program. */
static
#else
__attribute__((constructor)) static
#endif
void begin(void)
{
    first = began_once();
}

KERNEL_PROGRAM(start)
{
    CHECK(sp[0] >= 1);
#ifdef GLIBC
    begin();
#endif
    CHECK(first);
    CHECK(same(word_of(2), "two") && same(names[1], "chosen"));
    CHECK(counter == 3 && place == &counter);
    CHECK(own == 9 && local == 5 && place_of_local() == &local);
    CHECK(functions[0]() == 2 && functions[1]() == 11 && functions[2]() == 2);
    CHECK(optional() == 7);
    say("sound\n");
#ifdef GLIBC
    /* Its finaliser wants a libc that was initialised. */
    say("ended\n");
#else
    finaliser();
#endif
    leave(SUCCESS);
}
