/* A library that has something of everything that a loader looks at, and code that can not go wrong by itself. */
#include "libcfree.h"

static const char *const words[] = {"zero", "one", "two", "three"};

const char *word_of(unsigned index)
{
    return words[index & 3];
}

int counter = 3;
int *place = &counter;
__thread int local = 5;
static __thread int own[16] = {1, 2, 3};
static int began, ended;

int *place_of_local(void)
{
    own[0]++;
    return &local;
}

int began_once(void)
{
    return began == 1 && ended == 0;
}

/* Interposed by the program. */
int shared(void)
{
    return 1;
}

int ask(void)
{
    return shared();
}

__attribute__((weak)) extern int nobody(int);

int optional(void)
{
    return nobody ? nobody(1) : 7;
}

static int chosen_now(void)
{
    return 11;
}

static int (*choose(void))(void)
{
    return chosen_now;
}

__attribute__((ifunc("choose"))) int chosen(void);

int old_answer(void)
{
    return 1;
}

int new_answer(void)
{
    return 2;
}

asm(".symver old_answer, answer@X_1");
asm(".symver new_answer, answer@@X_2");

/* Said before anything else: a start that was refused must not have come so far. */
__attribute__((constructor)) static void begin(void)
{
    began++;
    say("begun\n");
}

__attribute__((destructor)) static void end(void)
{
    ended++;
    say("ended\n");
}
