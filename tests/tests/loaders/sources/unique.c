/* STB_GNU_UNIQUE: there is one such object in the process, even among libraries that prefer their own symbols. */
#include "prelude.h"

#ifdef WHO
#ifdef UNIQUE
#define TYPE "@gnu_unique_object"
#else
#define TYPE "@object"
#endif
asm(".pushsection .data\n"
    ".globl t_object\n"
    ".type t_object, " TYPE "\n"
    ".size t_object, 4\n"
    ".balign 4\n"
    "t_object: .long " TEXT_OF(WHO) "\n"
    ".popsection");
extern int t_object;
int *JOIN(t_place_, WHO)(void);
int *JOIN(t_place_, WHO)(void)
{
    return &t_object;
}
#else
int *t_place_1(void);
int *t_place_2(void);
int t_main(void)
{
    put("one", *t_place_1());
    put("two", *t_place_2());
    put("same", t_place_1() == t_place_2());
#ifdef LOOKS
    extern int t_object;
    put("program's", t_object);
    put("program's is one's", &t_object == t_place_1());
#endif
    return SUCCESS;
}
#endif
