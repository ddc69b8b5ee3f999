/* slul.h - the C interface of slulrtld.
 * SPDX-License-Identifier: 0BSD OR MIT OR Apache-2.0
 *
 * For programs and libraries that carry no libc. Nothing here needs a header of a libc.
 */
#ifndef SLUL_H
#define SLUL_H

#ifdef __cplusplus
extern "C" {
#endif

/* What slul_libc_state() answers. */
#define SLUL_LIBC_ABSENT  0
#define SLUL_LIBC_LOADING 1
#define SLUL_LIBC_PRESENT 2

/* Flags of the ABI note. */
#define SLUL_CALL_ENTRY 1u /* e_entry is int entry(int argc, char **argv, char **envp, const void *auxv) */

/* Emits the ABI note (owner "SLUL", type 1). Use once, at file scope, in the program: SLUL_ABI_NOTE(SLUL_CALL_ENTRY) */
#define SLUL_ABI_NOTE(flags_)                                                                     \
    __attribute__((section(".note.slul"), used, aligned(4))) static const struct {                \
        unsigned namesz, descsz, type;                                                            \
        char name[8];                                                                             \
        unsigned short abi_major, abi_minor;                                                      \
        unsigned flags, min_loader, zero;                                                         \
    } slul_abi_note = {5, 16, 1, "SLUL", 1, 0, (flags_), 1, 0};

/* Brings the system's libc into the process. 0, or a negative errno. */
int slul_load_libc(void);

/* SLUL_LIBC_*. Never loads anything. */
int slul_libc_state(void);

/* Runs the finalisers of program and libraries, then leaves through libc's exit() if libc is present. */
__attribute__((noreturn)) void slul_exit(int status);

/* The value of an auxiliary vector entry as the kernel passed it; 0 if there is none. */
unsigned long slul_getauxval(unsigned long type);

#ifdef __cplusplus
}
#endif
#endif
