/* A program for the system's own ld.so, without start-up code: its costs are those of ld.so, libc's initialisers,
 * `puts` and `exit`, the lower bound of a first native call. */
int puts(const char *);
_Noreturn void exit(int);

__attribute__((used)) static _Noreturn void begin(void)
{
    exit(puts("hello") < 0);
}

__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "and $-16, %rsp\n"
        "call begin\n"
        "ud2\n");
