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
#define SLUL_EAGER_LIBC 2u /* libc is brought in before the entry, if the program may come to need it: for programs that
                              change root directory, namespaces or filters before their first native call, which makes
                              no system call of the loader's then. It counts in a library of the start, too */

/* Emits the ABI note (owner "SLUL", type 1). Use once, at file scope, in the program: SLUL_ABI_NOTE(SLUL_CALL_ENTRY), and in
 * each library that calls native ones: SLUL_ABI_NOTE(0). (A library without it that needs something native is native.)
 * For SLUL_CALL_ENTRY it defines `_init` as well, as 0, unless the program has one: linkers make a DT_INIT of it, which names no
 * function, and by which the loader knows the entry of a program whose notes were removed. (A static ET_EXEC has none.) */
#define SLUL_ABI_NOTE(flags_)                                                                     \
    __attribute__((section(".note.slul"), used, aligned(4))) static const struct {                \
        unsigned namesz, descsz, type;                                                            \
        char name[8];                                                                             \
        unsigned short abi_major, abi_minor;                                                      \
        unsigned flags, min_loader, zero;                                                         \
    } slul_abi_note = {5, 16, 1, "SLUL", 1, 0, (flags_), 1, 0};                                   \
    __attribute__((used, cold)) static void slul_abi_mark(void)                                   \
    {                                                                                             \
        __asm__ volatile(".if %c0\n.weak _init\n.hidden _init\n.set _init, 0\n.endif"             \
                         : : "i"((flags_) & SLUL_CALL_ENTRY));                                    \
    }

/* Brings the system's libc into the process. 0, or a negative errno, and then nothing has changed, and slul_dlerror() has a
 * text in a program that imports it: -ENOENT if there is no libc, or a native library of the program is missing, or one that
 * such a library needs in turn (a file that is no ELF file: -ENOEXEC). What libc's own ld.so finds wrong with the contents of
 * libraries, such as a version or symbol that they lack, still ends the process with a line; so does anything that is
 * missing where LD_PRELOAD, LD_AUDIT or /etc/ld.so.preload change what ld.so would load. -EPERM in a child that has
 * its parent's memory (vfork, or clone with CLONE_VM), in a thread whose thread pointer the program has set itself, and in
 * another root directory or mount namespace than the start's. A program that changes these, or forbids itself system calls,
 * calls this before, or has SLUL_EAGER_LIBC in its note. A
 * runtime that has thread pointers of its own calls this before it sets the first one, keeps the one that it finds then
 * (arch_prctl(2), rdfsbase), and sets that back for each native call, in this thread alone. Values of the calling
 * thread's thread-local variables are kept, their addresses are not: libc decides on them. (A program that names native
 * libraries, and has such variables, gets libc before its entry.) */
int slul_load_libc(void);

/* SLUL_LIBC_*. Never loads anything. */
int slul_libc_state(void);

/* Runs the finalisers of program and libraries, then leaves through libc's exit() if libc is present. */
__attribute__((noreturn)) void slul_exit(int status);

/* The value of an auxiliary vector entry as the kernel passed it; 0 if there is none. */
unsigned long slul_getauxval(unsigned long type);

/* What slul_dlopen() is asked for; the values are those of <dlfcn.h> on Linux. */
#define SLUL_RTLD_LAZY     1      /* a function that nobody defines is looked for when it is first called, through a PLT that was
                                     not linked with -z now; all else is bound at once. No such function: the process ends */
#define SLUL_RTLD_NOW      2
#define SLUL_RTLD_NOLOAD   4      /* only what is there already: NULL, and no error, if it is not */
#define SLUL_RTLD_DEEPBIND 8      /* its own definitions, and those of what it needs, come first */
#define SLUL_RTLD_GLOBAL   0x100  /* libraries opened later, and slul_dlsym(SLUL_RTLD_DEFAULT, ...), find its symbols */
#define SLUL_RTLD_LOCAL    0
#define SLUL_RTLD_NODELETE 0x1000 /* stays mapped when it is closed */
#define SLUL_RTLD_DEFAULT  ((void *)0)
#define SLUL_RTLD_NEXT     ((void *)-1)

/* What slul_dlinfo() is asked for, and what it writes; the values are those of <dlfcn.h>. */
#define SLUL_RTLD_DI_LMID      1  /* a long: the namespace, always 0 */
#define SLUL_RTLD_DI_LINKMAP   2  /* the struct link_map */
#define SLUL_RTLD_DI_ORIGIN    6  /* a text, of PATH_MAX bytes at most: what $ORIGIN stands for */
#define SLUL_RTLD_DI_TLS_MODID 9  /* a size_t: the number for __tls_get_addr, 0 without thread-local storage */
#define SLUL_RTLD_DI_TLS_DATA  10 /* the calling thread's block of that storage, NULL if it has none yet */
#define SLUL_RTLD_DI_PHDR      11 /* the program headers; the result is their number */

/* Opens a library, as dlopen(3): by a path, or by a name that is searched for as the caller's DT_NEEDED is. What is not
 * found there, or has no ABI note and needs something native, is opened by libc's own dlopen, which brings libc in; once libc
 * is there also what has no note and needs nothing, and what libc has loaded already. NULL or "" is the program. A library that
 * is not found is looked for before libc comes, as slul_load_libc() does: libc stays absent then.
 *
 * The handle points to the library's `struct link_map`, whose first word is the load bias. NULL if it fails. Takes up to
 * 32 KiB of the caller's stack. From several threads, one open or close happens at a time; initialisers and finalisers
 * may open and close, too. Callbacks of dl_iterate_phdr may not. libc's fork() waits for the moment when no thread is
 * changing the list, so the child can open and close; after fork(2) by other means it may get NULL, with that reason.
 *
 * In a thread whose thread pointer the program has set itself, no native library can be opened and, once libc is there, nothing
 * at all; nor can anything be closed then. */
void *slul_dlopen(const char *name, int flags);

/* The address of a symbol, as dlsym(3): in the library and then in what it needs; in the scope of the caller; or behind
 * the caller in it. The caller is whose return address it is, so not by a tail call. The program's handle and
 * SLUL_RTLD_DEFAULT go on into libc's world. NULL if nobody has it, or if NULL is its value: slul_dlerror() tells. */
void *slul_dlsym(void *handle, const char *name);

/* As slul_dlsym(), of that version, as dlvsym(3). */
void *slul_dlvsym(void *handle, const char *name, const char *version);

/* What slul_dladdr() writes: the fields of Dl_info (dladdr(3)). */
struct slul_dl_info {
    const char *dli_fname; /* path of the object, and argv[0] of the program */
    void *dli_fbase;       /* where it begins */
    const char *dli_sname; /* the symbol that contains the address, and its address; NULL if no dynamic symbol does */
    void *dli_saddr;
};

/* The object and symbol at an address, in this world or in libc's, as dladdr(3): 0 if no object is there. */
int slul_dladdr(const void *address, struct slul_dl_info *info);

/* Tells one of SLUL_RTLD_DI_* about an open object, as dlinfo(3): 0 (SLUL_RTLD_DI_PHDR: a number), or -1 for any other request,
 * and for a handle of nothing. Handles of native libraries are answered by libc's own dlinfo, whatever the request. */
int slul_dlinfo(void *handle, int request, void *answer);

/* Closes a library, as dlclose(3): 0, or -1 if the handle is none. When nothing has it open, needs it, or is bound to it
 * any more, its finalisers run and it is unmapped. It stays mapped, and its finalisers run when the process ends, if
 * - it was linked with -z nodelete,
 * - it defines a unique symbol (STB_GNU_UNIQUE) that was bound to or looked up,
 * - libc's unwinder was told of its unwind tables, or it has code run when threads end (`thread_local` of C++),
 * - the program is bound to it, by slul_dlsym(SLUL_RTLD_DEFAULT, ...) for instance.
 * Libraries of the start always stay. */
int slul_dlclose(void *handle);

/* What went wrong last in the calling thread, once; NULL if nothing did since. */
const char *slul_dlerror(void);

#ifdef __cplusplus
}
#endif
#endif
