/* slul_load_libc alone: nothing is named, nothing is opened; libc is there and the program goes on as before. */
#include "prelude.h"

static __thread long local = 4;
static int fini;
__attribute__((destructor)) static void down(void)
{
    put("down", fini++);
}

int main(int argc, char **argv)
{
    local = argc;
    long *place = &local;
    put("load", world_load_libc());
    put("again", world_load_libc());
    put("local", local + (place == &local) * 10);
    void *process = world_open((const char *)0, 2);
    put("program", process != 0);
    unsigned long (*measure)(const char *) = (unsigned long (*)(const char *))world_find(process, "strlen");
    put("strlen", measure ? (long)measure("four") : -1);
    put("arguments", argv[argc] == 0);
    int (*speak)(const char *) = (int (*)(const char *))world_find((void *)0, "puts");
    speak("held back");
    say("raw\n");
    return SUCCESS;
}
