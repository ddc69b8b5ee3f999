/* The reference for starts and first calls: an ordinary program that writes a line. */
#include <stdio.h>

int main(void)
{
    return puts("hello") < 0;
}
