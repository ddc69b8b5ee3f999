/* Writes a byte and waits, so that its memory can be inspected. For any loader. */
static long system_call(long number, long a, const char *b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

__attribute__((used)) static _Noreturn void begin(void)
{
    char ready = '!';
    system_call(1, 1, &ready, 1);
    for (;;)
        system_call(34, 0, 0, 0);
}

__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "and $-16, %rsp\n"
        "call begin\n");
