/* One library in several directories, needed by a program, or by another library of the program's. */
#include "prelude.h"

#if defined WHO
int t_which(void)
{
    return WHO;
}
#elif defined LIBRARY
int t_which(void);
int t_through(void);
int t_through(void)
{
    return t_which();
}
#else
int t_through(void);
int t_main(void)
{
    put("found in directory", t_through());
    return SUCCESS;
}
#endif
