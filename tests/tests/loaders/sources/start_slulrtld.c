/* How slulrtld starts the program: it calls the entry, and its result is the exit status. */
#include "prelude.h"

PROGRAM
{
    return t_main();
}
