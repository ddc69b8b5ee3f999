/* A library with some versions of a name, and objects that were linked with an earlier or later one. */
#include "prelude.h"

#if defined PLAIN
int t_number(void)
{
    return 1;
}
int t_datum = 10;
#endif

#ifdef ONE
int number_1(void);
int number_1(void)
{
    return 1;
}
int datum_1 = 10;
asm(".symver number_1, t_number" ONE "V1\n"
    ".symver datum_1, t_datum" ONE "V1\n");
#endif

#ifdef TWO
int number_2(void);
int number_2(void)
{
    return 2;
}
int datum_2 = 20;
asm(".symver number_2, t_number" TWO "V2\n"
    ".symver datum_2, t_datum" TWO "V2\n");
#endif

#if !defined PROVIDER
int t_number(void);
extern int t_datum;
#ifdef OLD
asm(".symver t_number, t_number@V1\n"
    ".symver t_datum, t_datum@V1\n");
#endif

#ifdef LIBRARY
static int (*pointer)(void) = t_number;
void t_user(void);
void t_user(void)
{
    put("library's number", t_number());
    put("library's datum", t_datum);
    put("library's pointer", pointer());
}
#else
void t_user(void);
int t_main(void)
{
    int (*volatile pointer)(void) = t_number;
    t_user();
    put("number", t_number());
    put("datum", t_datum);
    put("pointer", pointer());
    return SUCCESS;
}
#endif
#endif
