// Executes a program as packers do: maps it and its interpreter from their files, edits the auxiliary vector in place, and
// jumps. AT_EXECFN and /proc/self/exe stay the packer's. -DNO_BASE takes AT_BASE away, too.
typedef unsigned long word;

struct header {
    unsigned char ident[16];
    unsigned short type, machine;
    unsigned version;
    word entry, phoff, shoff;
    unsigned flags;
    unsigned short ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct segment {
    unsigned type, flags;
    word offset, vaddr, paddr, filesz, memsz, align;
};

enum { PT_LOAD = 1, PT_INTERP = 3, AT_PHDR = 3, AT_PHNUM = 5, AT_BASE = 7, AT_ENTRY = 9, PAGE = 4096 };

static long call(long number, word a, word b, word c, word d, word e, word f)
{
    register word r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
    long result;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

static char heads[2][PAGE];
static char interpreter[512];

/* Maps a file by its program headers; answers its load bias. */
static word map(const char *path, char *head)
{
    long file = call(2, (word)path, 0, 0, 0, 0, 0);
    if (file < 0 || call(17, (word)file, (word)head, PAGE, 0, 0, 0) < 64)
        call(231, 99, 0, 0, 0, 0, 0);
    const struct header *header = (void *)head;
    const struct segment *segments = (void *)(head + header->phoff);
    word end = 0, bias = 0;
    for (int i = 0; i < header->phnum; i++) {
        if (segments[i].type == PT_LOAD)
            end = segments[i].vaddr + segments[i].memsz;
        if (segments[i].type == PT_INTERP)
            call(17, (word)file, (word)interpreter, segments[i].filesz, segments[i].offset, 0, 0);
    }
    if (header->type == 3)
        bias = (word)call(9, 0, end + PAGE, 0, 0x22, -1ul, 0);
    for (int i = 0; i < header->phnum; i++) {
        const struct segment *it = &segments[i];
        if (it->type != PT_LOAD)
            continue;
        word into = it->vaddr % PAGE, start = bias + it->vaddr - into, data = bias + it->vaddr + it->filesz;
        word protection = (it->flags & 4 ? 1 : 0) | (it->flags & 2 ? 2 : 0) | (it->flags & 1 ? 4 : 0);
        if (it->filesz)
            call(9, start, it->filesz + into, protection, 0x12, (word)file, it->offset - into);
        word whole = (data + PAGE - 1) & -(word)PAGE;
        for (word at = data; it->memsz > it->filesz && it->filesz && at < whole; at++)
            *(volatile char *)at = 0;
        if (bias + it->vaddr + it->memsz > whole)
            call(9, whole, bias + it->vaddr + it->memsz - whole, protection, 0x32, -1ul, 0);
    }
    call(3, (word)file, 0, 0, 0, 0, 0);
    return bias;
}

/* Leaves the program's block at `sp`, and answers where to jump. */
__attribute__((used)) static word prepare(word *sp)
{
    const char *path = (const char *)sp[2];
    word *end = sp + sp[0] + 2;
    while (*end++)
        ;
    while (*end)
        end += 2;
    sp[0]--;
    // The first argument, the packer's own, goes: the stack pointer stays a multiple of 16.
    for (word *at = sp + 1; at < end + 1; at++)
        at[0] = at[1];
    end[0] = end[1] = 0;
    word bias = map(path, heads[0]), base = 0;
    const struct header *program = (void *)heads[0];
    word entry = bias + program->entry;
    if (interpreter[0]) {
        base = map(interpreter, heads[1]);
        entry = base + ((struct header *)heads[1])->entry;
    }
    const struct segment *first = (void *)(heads[0] + program->phoff);
    while (first->type != PT_LOAD)
        first++;
    word *at = sp + sp[0] + 2;
    while (*at++)
        ;
    for (; *at; at += 2) {
        if (at[0] == AT_PHDR)
            at[1] = bias + first->vaddr + program->phoff;
        if (at[0] == AT_PHNUM)
            at[1] = program->phnum;
        if (at[0] == AT_ENTRY)
            at[1] = bias + program->entry;
        if (at[0] == AT_BASE) {
            at[1] = base;
#ifdef NO_BASE
            at[0] = 1;
#endif
        }
    }
    return entry;
}

asm(".globl _start\n"
    "_start: mov %rsp, %rdi\n"
    "call prepare\n"
    "xor %edx, %edx\n"
    "jmp *%rax\n");
