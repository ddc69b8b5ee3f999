/* Functions that a resolver chooses, by way of a word that has to be relocated before. */
#include "prelude.h"

#define CHOOSES(name, linkage, yes, no)                                      \
    static int name##_yes(void)                                              \
    {                                                                        \
        return yes;                                                          \
    }                                                                        \
    static int name##_no(void)                                               \
    {                                                                        \
        return no;                                                           \
    }                                                                        \
    static int (*name##_choices[])(void) = {name##_no, name##_yes};          \
    static int (**volatile name##_table)(void) = name##_choices;             \
    __attribute__((used)) static int (*name##_resolver(void))(void)          \
    {                                                                        \
        return name##_table[1];                                              \
    }                                                                        \
    linkage int name(void) __attribute__((ifunc(#name "_resolver")))

#ifdef LIBRARY
CHOOSES(t_chosen, extern, 3, 30);
CHOOSES(t_inner, static, 4, 40);
int (*t_library_pointer)(void) = t_chosen;
int t_library(int (*function)(void));
int t_library(int (*function)(void))
{
    int (*volatile taken)(void) = t_chosen;
    put("library chosen", t_chosen());
    put("library inner", t_inner());
    put("library's pointer is the same", function == taken);
    return t_library_pointer();
}
#else
int t_chosen(void);
int t_library(int (*function)(void));
extern int (*t_library_pointer)(void);
CHOOSES(own, static, 5, 50);
static int (*own_pointer)(void) = own;

int t_main(void)
{
    int (*volatile pointer)(void) = t_chosen;
    put("chosen", t_chosen());
    put("own", own());
    put("own by pointer", own_pointer());
    put("chosen by pointer", pointer());
    put("library", t_library(pointer));
    put("same", t_library_pointer == pointer);
    return SUCCESS;
}
#endif
