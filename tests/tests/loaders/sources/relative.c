/* Many words that are relocated relative to the load address, next to each other and apart. */
#include "prelude.h"

struct entry {
    const char *text;
    long number;
    const struct entry *next;
};
static const struct entry entries[] = {
    {"one", 1, &entries[1]}, {"two", 2, &entries[2]}, {"three", 3, &entries[3]}, {"four", 4, 0},
};
static struct entry apart[100] = {[0] = {"first", 5, &apart[99]}, [99] = {"last", 6, entries}};

static void walk(const struct entry *entry)
{
    for (; entry; entry = entry->next)
        put(entry->text, entry->number);
}

#ifdef LIBRARY
void t_walk(void);
void t_walk(void)
{
    walk(apart);
}
#else
void t_walk(void);
int t_main(void)
{
    walk(apart);
    t_walk();
    return SUCCESS;
}
#endif
