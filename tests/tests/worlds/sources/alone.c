/* Names libc in DT_NEEDED, and no other native library. */
#include "prelude.h"
#include <stdio.h>

int main(void)
{
    puts("called");
    return SUCCESS;
}
