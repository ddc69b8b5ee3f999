/* What programs for musl are linked with: its loader is its libc, under the name libc.so. */
int __libc_start_main(void);
int __libc_start_main(void)
{
    return 0;
}
