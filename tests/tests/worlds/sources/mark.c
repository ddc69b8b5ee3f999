/* By what this library needs, slulrtld tells which libc a program is for that has no native library of its own. */
int mark(void);
int mark(void)
{
    return 1;
}
