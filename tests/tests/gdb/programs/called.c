/* A program that stops in itself, in its library, if it has one, and in a native one. It is linked for each way in. */
#ifdef LIBRARY
__attribute__((noinline)) int in_library(int number)
{
    asm volatile("" : "+r"(number));
    return number + 1;
}
#else
#include "libcfree.h"

int in_library(int number);
unsigned long crc32(unsigned long crc, const unsigned char *bytes, unsigned size);

__attribute__((noinline)) static int in_program(int number)
{
    asm volatile("" : "+r"(number));
    return number + 1;
}

PROGRAM
{
    int number = in_program(argc);
#ifdef NEEDS
    number = in_library(number);
#endif
#ifdef NATIVE
    CHECK(crc32(0, (const unsigned char *)"a", 1) == 0xe8b7be43);
#endif
    return number > 0 ? SUCCESS : 1;
}
#endif
