/* A static program that brings libc in like detour and foreign-dlopen, for comparison; our code, in their style. It
 * maps the helper, an executable that must be compiled for this machine's libc, and its ld.so, as the kernel would,
 * enters ld.so on a stack made by hand, and leaves the helper's main by a longjmp. Then it calls puts through dlsym.
 *
 * Freestanding, as the programs it is compared with. HELPER is the helper's path. */
#include <elf.h>

#include "detour.h"

typedef unsigned long word;

enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, MMAP = 9, PREAD = 17, EXIT = 231, PAGE = 4096 };

static long ask(long number, word a, word b, word c, word d, word e, word f)
{
    register word r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static _Noreturn void leave(int status)
{
    for (;;)
        ask(EXIT, (word)status, 0, 0, 0, 0, 0);
}

static void require(int condition)
{
    if (!condition)
        leave(99);
}

struct image {
    word bias, entry, phdr, phnum;
    char interpreter[128];
};

static int protection(unsigned flags)
{
    return (flags & PF_R ? 1 : 0) | (flags & PF_W ? 2 : 0) | (flags & PF_X ? 4 : 0);
}

static void map_segment(long file, word bias, const Elf64_Phdr *segment)
{
    word start = (bias + segment->p_vaddr) & -(word)PAGE, into = (bias + segment->p_vaddr) & (PAGE - 1);
    word file_end = bias + segment->p_vaddr + segment->p_filesz, end = bias + segment->p_vaddr + segment->p_memsz;
    word file_page_end = (file_end + PAGE - 1) & -(word)PAGE;
    int rights = protection(segment->p_flags);
    require(ask(MMAP, start, segment->p_filesz + into, (word)rights, 0x12, (word)file, segment->p_offset - into) > 0);
    if (end > file_end)
        for (word at = file_end; at < file_page_end; at++)
            *(char *)at = 0;
    if (end > file_page_end)
        require(ask(MMAP, file_page_end, end - file_page_end, (word)rights, 0x32, (word)-1, 0) > 0);
}

static struct image map(const char *path)
{
    struct image image = {0};
    char bytes[1024];
    long file = ask(OPEN, (word)path, 0x80000, 0, 0, 0, 0);
    require(file >= 0 && ask(READ, (word)file, (word)bytes, sizeof bytes, 0, 0, 0) > 0);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)bytes;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(bytes + header->e_phoff);
    word end = 0;
    for (int number = 0; number < header->e_phnum; number++)
        if (segments[number].p_type == PT_LOAD)
            end = segments[number].p_vaddr + segments[number].p_memsz;
    long place = ask(MMAP, 0, end, 0, 0x22, (word)-1, 0);
    require(place > 0);
    image.bias = (word)place;
    image.entry = image.bias + header->e_entry;
    image.phdr = image.bias + header->e_phoff;
    image.phnum = header->e_phnum;
    for (int number = 0; number < header->e_phnum; number++) {
        const Elf64_Phdr *segment = segments + number;
        if (segment->p_type == PT_LOAD)
            map_segment(file, image.bias, segment);
        if (segment->p_type == PT_INTERP)
            require(segment->p_filesz <= sizeof image.interpreter &&
                    ask(PREAD, (word)file, (word)image.interpreter, segment->p_filesz, segment->p_offset, 0, 0) > 0);
    }
    ask(CLOSE, (word)file, 0, 0, 0, 0, 0);
    return image;
}

static struct escape escape;
static void *context[5];

static _Noreturn void jump_back(void)
{
    __builtin_longjmp(context, 1);
}

static char address[17];

static void write_address(word value)
{
    for (int digit = 15; digit >= 0; digit--, value >>= 4)
        address[digit] = "0123456789abcdef"[value & 15];
}

/* A stack as the kernel makes it: argc, argv, envp, and auxv with what differs put right. */
static word *block(word *top, const struct image *helper, const struct image *loader, char **envp, const word *auxv)
{
    word count = 0, entries = 0;
    while (envp[count])
        count++;
    while (auxv[2 * entries])
        entries++;
    word *at = (word *)(((word)top - (2 * entries + count + 16) * sizeof(word)) & -16UL), *block = at;
    *at++ = 2;
    *at++ = (word)HELPER;
    *at++ = (word)address;
    *at++ = 0;
    for (word number = 0; number <= count; number++)
        *at++ = (word)envp[number];
    for (word number = 0; number <= entries; number++) {
        word type = auxv[2 * number], value = auxv[2 * number + 1];
        value = type == AT_PHDR    ? helper->phdr
                : type == AT_PHNUM ? helper->phnum
                : type == AT_BASE  ? loader->bias
                : type == AT_ENTRY ? helper->entry
                                   : value;
        *at++ = type;
        *at++ = value;
    }
    return block;
}

__attribute__((used)) static _Noreturn void begin(word *stack)
{
    char **envp = (char **)(stack + 2 + stack[0]);
    word *auxv = (word *)envp;
    while (*auxv++)
        ;
    escape.leave = jump_back;
    write_address((word)&escape);
    if (__builtin_setjmp(context) == 0) {
        struct image helper = map(HELPER), loader = map(helper.interpreter);
        word *below = block((word *)((word)__builtin_frame_address(0) - 65536), &helper, &loader, envp, auxv);
        __asm__ volatile("mov %0, %%rsp; xor %%edx, %%edx; jmp *%1" : : "r"(below), "r"(loader.entry) : "memory");
        __builtin_unreachable();
    }
    int (*put)(const char *) = (int (*)(const char *))escape.dlsym((void *)0, "puts");
    void (*finish)(int) = (void (*)(int))escape.dlsym((void *)0, "exit");
    require(put && finish);
    finish(put("hello") < 0);
    leave(98);
}

__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "mov %rsp, %rdi\n"
        "and $-16, %rsp\n"
        "call begin\n");
