/* What every object of the matrix has: a way to say what it finds. */
#ifndef PRELUDE_H
#define PRELUDE_H

#include "libcfree.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* "what value\n", in one system call. */
static inline void put(const char *what, long value)
{
    char line[80], digits[24];
    word used = 0, count = 0;
    word rest = value < 0 ? -(word)value : (word)value;
    while (*what && used < 40)
        line[used++] = *what++;
    line[used++] = ' ';
    if (value < 0)
        line[used++] = '-';
    do
        digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (count)
        line[used++] = digits[--count];
    line[used++] = '\n';
    system_call(SYS_write, 1, (word)line, used, 0);
}

/* What the program does between start and exit. */
int t_main(void);

#endif
