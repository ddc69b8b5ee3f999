/* DT_PREINIT_ARRAY of the program runs before any constructor of a native library, and may call native functions; the data of
   one is referred to, so libc is there before the program. */
#include "prelude.h"
#if defined IN_libnative
int native_number = 4;
SAYS_UP_AND_DOWN("native")
int native_sum(int number)
{
    return native_number + number;
}
#else
extern int native_number;
int native_sum(int number);
static void first(int argc, char **argv, char **envp)
{
    put("first with arguments", argc == 1 && argv[0] && envp != 0);
    put("sum", native_sum(1));
    native_number = 7;
}
static void second(void)
{
    put("second", native_sum(1));
}
__attribute__((section(".preinit_array"), used)) static void (*const before[])(int, char **, char **) = {
    first, (void (*)(int, char **, char **))second};
SAYS_UP_AND_DOWN("program")

int main(void)
{
    put("main", native_number);
    return SUCCESS;
}
#endif
