/* Opens a native library whose thread-local variables are initial-exec: a few bytes, or more than is left. */
#include "prelude.h"
#ifdef IN_libnative
#ifndef SIZE
#define SIZE 64
#endif
/* It has a name, since musl's complaint about one without reads an uninitialised pointer. */
__thread char block[SIZE] = "here";
int native_answer(void)
{
    return block[0] + block[SIZE - 1]++;
}
#else
int main(void)
{
    void *handle = world_open("libnative.so", 2);
    put("opened", handle != 0);
    const char *error = handle ? "" : world_error();
    int says = 0;
    for (; error && *error; error++)
        says |= error[0] == 'T' && error[1] == 'L' && error[2] == 'S';
    put("says TLS", says);
    if (handle)
        put("answer", ((int (*)(void))world_find(handle, "native_answer"))());
    put("still here", 1);
    return SUCCESS;
}
#endif
