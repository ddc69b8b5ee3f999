//! The plain start of a program that rt0 hands over: it is mapped and entered before the loader relocates itself.
//!
//! Here you have what `plain.rs` has, and system calls. In any doubt nothing has changed, and the full start does it
//! all again, with all its checks. Besides what is plain there, the program must have nothing in memory that is not in
//! its file, and no hole between its segments.
//!
//! # Safety
//! This file exists because the block and the program's headers are read and written before the loader can say what
//! they are. The block is the kernel's; headers are read into this function's own frame, and mapped to where the kernel
//! finds room.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use crate::cpu::{call, load, store};
use crate::early::plain::{Entry, NOT_PLAIN, PlainStart, is_ours, slul_plain_program};

const AT_PHDR: usize = 3;
const AT_PHNUM: usize = 5;
const AT_BASE: usize = 7;
const AT_ENTRY: usize = 9;
const AT_SECURE: usize = 23;
const AT_EXECFN: usize = 31;

const SYS_CLOSE: usize = 3;
const SYS_MMAP: usize = 9;
const SYS_MUNMAP: usize = 11;
const SYS_PREAD: usize = 17;
const SYS_READLINK: usize = 89;
const SYS_PRCTL: usize = 157;
const PR_SET_NAME: usize = 15;
const MAP_PRIVATE: usize = 2;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;
const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
const READ_WRITE: usize = 3;
/// Results from here on are errors.
const ERRORS: usize = usize::MAX - 4095;

const PAGE: usize = 4096;
const EHDR: usize = 64;
const PHDR: usize = 56;
/// Most program headers of such a program.
const MOST: usize = 13;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_TLS: u32 = 7;
/// `\x7fELF`, ELFCLASS64, ELFDATA2LSB, EV_CURRENT.
const IDENT: u64 = 0x01_01_02 << 32 | u32::from_le_bytes(*b"\x7fELF") as u64;
/// ET_DYN and ET_EXEC, with EM_X86_64.
const DYNAMIC: u32 = 62 << 16 | 3;
const FIXED: u32 = 62 << 16 | 2;

/// Where something is mapped; not at all is 0.
type Mapped = usize;

/// The descriptor that rt0's marker at `argument` tells (`rt0::stub`).
#[inline(always)]
unsafe fn descriptor(argument: usize) -> Option<usize> {
    // SAFETY: behind the last string of the stack are eight bytes of zeros.
    let mut word = unsafe { load::<u64>(argument) };
    if word & 0xff != rt0::stub::MARK as u64 || word.wrapping_shr(56) != 0 {
        return None;
    }
    let mut value = 0usize;
    let mut left = rt0::stub::DIGITS;
    while left != 0 {
        word = word.wrapping_shr(8);
        let byte = (word & 0xff) as usize;
        let digit = match byte {
            0x30..=0x39 => byte.wrapping_sub(0x30),
            0x61..=0x66 => byte.wrapping_sub(0x61 - 10),
            _ => return None,
        };
        value = value.wrapping_shl(4) | digit;
        left = left.wrapping_sub(1);
    }
    Some(value)
}

/// Maps the program whose ELF header, and `count` program headers, were read to `header`; if `fixed`, to where its
/// addresses say. Answers where it begins, and its size.
#[inline(always)]
unsafe fn map(file: usize, header: usize, count: usize, fixed: bool) -> (Mapped, usize) {
    let table = header.wrapping_add(EHDR);
    let end = table.wrapping_add(count.wrapping_mul(PHDR));
    // `origin` is the first address of the program, or 0 where the kernel finds room.
    let (mut size, mut base, mut origin) = (0usize, 0usize, 0usize);
    // Once to see how large it is, and once to map it.
    let mut pass = 0u32;
    while pass < 2 {
        let mut at = 0usize;
        let mut phdr = table;
        while phdr != end {
            // SAFETY: a program header in the buffer, so in all of this loop.
            let kind = unsafe { load::<u32>(phdr) };
            if kind == PT_INTERP || kind == PT_TLS {
                return (0, 0);
            }
            if kind == PT_LOAD {
                // SAFETY: as above.
                let flags = unsafe { load::<u32>(phdr.wrapping_add(4)) } as usize;
                // SAFETY: as above.
                let offset = unsafe { load::<usize>(phdr.wrapping_add(8)) };
                // SAFETY: as above.
                let vaddr = unsafe { load::<usize>(phdr.wrapping_add(16)) };
                // SAFETY: as above.
                let file_size = unsafe { load::<usize>(phdr.wrapping_add(32)) };
                // SAFETY: as above.
                let memory_size = unsafe { load::<usize>(phdr.wrapping_add(40)) };
                // SAFETY: as above.
                let align = unsafe { load::<usize>(phdr.wrapping_add(48)) };
                let first = at == 0;
                if first && fixed {
                    origin = vaddr & !(PAGE - 1);
                }
                let start = (vaddr & !(PAGE - 1)).wrapping_sub(origin);
                let as_usual = file_size == memory_size && align == PAGE && flags & 4 != 0 && flags & 3 != 3;
                let placed = start == at && (vaddr ^ offset) & (PAGE - 1) == 0;
                let sane = vaddr < 1 << 40 && file_size < 1 << 40 && file_size != 0;
                let has_headers = !first || offset == 0 && file_size >= end.wrapping_sub(header);
                if !(as_usual && placed && sane && has_headers) {
                    return (0, 0);
                }
                at = (vaddr.wrapping_add(file_size).wrapping_add(PAGE - 1) & !(PAGE - 1)).wrapping_sub(origin);
                // PF_R is 4 and PF_X 1, PROT_READ is 1 and PROT_EXEC 4.
                let protection = flags & 2 | flags >> 2 & 1 | (flags & 1) << 2;
                if pass == 1 {
                    let (place, len, how) = if first {
                        (origin, size, if fixed { MAP_FIXED_NOREPLACE } else { 0 })
                    } else {
                        (base.wrapping_add(start), at.wrapping_sub(start), MAP_FIXED)
                    };
                    let from = offset & !(PAGE - 1);
                    // SAFETY: where the kernel finds room, and then within that.
                    let got = unsafe { call(SYS_MMAP, [place, len, protection, how | MAP_PRIVATE, file, from]) };
                    if first && got < ERRORS {
                        base = got;
                    }
                    // Before Linux 4.17 the place is only a wish.
                    if got >= ERRORS || fixed && base != origin {
                        // SAFETY: nothing there is in use.
                        unsafe { unmap(base, size) };
                        return (0, 0);
                    }
                }
            }
            phdr = phdr.wrapping_add(PHDR);
        }
        size = at;
        pass = pass.wrapping_add(1);
        if size == 0 {
            return (0, 0);
        }
    }
    (base, size)
}

#[inline(always)]
unsafe fn unmap(base: usize, size: usize) {
    if base != 0 {
        // SAFETY: by the caller.
        let _ = unsafe { call(SYS_MUNMAP, [base, size, 0, 0, 0, 0]) };
    }
}

/// The path of the file that is open as `file`, in a page of its own; 0 if /proc does not tell.
#[inline(always)]
unsafe fn path_of(file: usize) -> usize {
    const LINK: usize = 32;
    // "/proc/self/fd/", and the number's decimal digits from the last on.
    let mut link = [const { MaybeUninit::<u64>::uninit() }; LINK / 8];
    let link = (&raw mut link) as usize;
    let mut digits = 0usize;
    let mut count = 0usize;
    let mut rest = file;
    loop {
        digits = digits.wrapping_shl(8) | rest.wrapping_rem(10).wrapping_add(0x30);
        count = count.wrapping_add(1);
        rest = rest.wrapping_div(10);
        if rest == 0 {
            break;
        }
    }
    // SAFETY: words of `link`; so for the next two. The number has at most eight digits.
    unsafe { store(link, usize::from_le_bytes(*b"/proc/se")) };
    // SAFETY: as above.
    unsafe { store(link.wrapping_add(14), digits) };
    // SAFETY: as above; its last two bytes, which are the number's first, are written again.
    let start = usize::from_le_bytes(*b"lf/fd/\0\0") | (digits & 0xffff).wrapping_shl(48);
    // SAFETY: as above.
    unsafe { store(link.wrapping_add(8), start) };
    // SAFETY: as above; the NUL.
    unsafe { store(link.wrapping_add(14).wrapping_add(count), 0) };
    // SAFETY: where the kernel finds room.
    let page = unsafe { call(SYS_MMAP, [0, PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, usize::MAX, 0]) };
    if page >= ERRORS {
        return 0;
    }
    // SAFETY: the page, of which a byte stays 0.
    let got = unsafe { call(SYS_READLINK, [link, page, PAGE - 1, 0, 0, 0]) };
    // SAFETY: the page.
    if got < PAGE - 1 && unsafe { load::<u8>(page) } == b'/' {
        return page;
    }
    // SAFETY: nothing there is in use.
    unsafe { unmap(page, PAGE) };
    0
}

/// Names the process by the last part of a path.
#[inline(always)]
unsafe fn set_name(path: usize) {
    let (mut at, mut name) = (path, path);
    loop {
        // SAFETY: a string.
        let byte = unsafe { load::<u8>(at) };
        at = at.wrapping_add(1);
        if byte == b'/' {
            name = at;
        } else if byte == 0 {
            break;
        }
    }
    // SAFETY: a string, of which the kernel copies what it takes.
    let _ = unsafe { call(SYS_PRCTL, [PR_SET_NAME, name, 0, 0, 0, 0]) };
}

/// Whether the block lets the start be plain: neither AT_SECURE nor a variable of ours, and executed directly. Answers
/// where auxv is, or 0.
#[inline(always)]
unsafe fn auxv_of_plain(envp: usize, own_entry: usize) -> usize {
    let mut at = envp;
    loop {
        // SAFETY: envp ends with NULL.
        let variable = unsafe { load::<usize>(at) };
        at = at.wrapping_add(8);
        if variable == 0 {
            break;
        }
        // SAFETY: a string of the environment.
        if unsafe { is_ours(variable) } {
            return 0;
        }
    }
    let auxv = at;
    let (mut secure, mut entry) = (1usize, 0usize);
    loop {
        // SAFETY: auxv follows envp's NULL and ends with AT_NULL.
        let key = unsafe { load::<usize>(at) };
        // SAFETY: entries are pairs.
        let value = unsafe { load::<usize>(at.wrapping_add(8)) };
        at = at.wrapping_add(16);
        if key == 0 {
            break;
        } else if key == AT_SECURE {
            secure = value;
        } else if key == AT_ENTRY {
            entry = value;
        }
    }
    if secure == 0 && entry == own_entry { auxv } else { 0 }
}

/// What the program's auxiliary vector differs in from the loader's.
struct Entries {
    phdrs: usize,
    count: usize,
    own_header: usize,
    entry: usize,
    path: usize,
}

/// Makes of the loader's block, with `argc` arguments and auxv at `auxv`, the program's: the marker goes.
#[inline(always)]
unsafe fn make_programs(sp: usize, argc: usize, auxv: usize, entries: Entries) {
    // SAFETY: the block's first word.
    unsafe { store(sp, argc.wrapping_sub(1)) };
    let mut word = sp.wrapping_add(8);
    while word != auxv.wrapping_sub(8) {
        // SAFETY: words of argv and envp, with their NULLs.
        let next = unsafe { load::<usize>(word.wrapping_add(8)) };
        // SAFETY: as above.
        unsafe { store(word, next) };
        word = word.wrapping_add(8);
    }
    let mut pair = auxv;
    loop {
        // SAFETY: auxv ends with AT_NULL; entries are pairs.
        let mut value = unsafe { load::<usize>(pair.wrapping_add(8)) };
        // SAFETY: the entry; so for the next four.
        value = unsafe { value_or(pair, AT_PHDR, entries.phdrs, value) };
        // SAFETY: as above.
        value = unsafe { value_or(pair, AT_PHNUM, entries.count, value) };
        // SAFETY: as above.
        value = unsafe { value_or(pair, AT_BASE, entries.own_header, value) };
        // SAFETY: as above.
        value = unsafe { value_or(pair, AT_ENTRY, entries.entry, value) };
        // SAFETY: as above.
        value = unsafe { value_or(pair, AT_EXECFN, entries.path, value) };
        // SAFETY: the entry.
        let key = unsafe { load::<usize>(pair) };
        // SAFETY: a word before where it was, which was read.
        unsafe { store(pair.wrapping_sub(8), key) };
        // SAFETY: as above.
        unsafe { store(pair, value) };
        if key == 0 {
            break;
        }
        pair = pair.wrapping_add(16);
    }
}

/// `new` if the entry at `pair` has that key, else `value`. The key is read anew for each question, so that the
/// compiler does not make a jump table of them.
#[inline(always)]
unsafe fn value_or(pair: usize, wanted: usize, new: usize, value: usize) -> usize {
    // SAFETY: by the caller.
    if unsafe { load::<usize>(pair) } == wanted { new } else { value }
}

/// Maps and enters, plainly, the program that rt0 hands over. `own_entry` is where this loader is entered as a program,
/// and `own_header` its ELF header.
///
/// # Safety
/// `sp` is the stack pointer as the kernel left it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_handed(sp: usize, own_entry: usize, own_header: usize) -> PlainStart {
    // SAFETY: the kernel's block begins with argc.
    let argc = unsafe { load::<usize>(sp) };
    // SAFETY: argv[0], or the NULL after it.
    let marker = unsafe { load::<usize>(sp.wrapping_add(8)) };
    if argc < 2 || marker == 0 {
        return NOT_PLAIN;
    }
    // SAFETY: a string of the block.
    let Some(file) = (unsafe { descriptor(marker) }) else { return NOT_PLAIN };
    // SAFETY: envp is behind argv's NULL.
    let auxv = unsafe { auxv_of_plain(sp.wrapping_add(argc.wrapping_mul(8)).wrapping_add(16), own_entry) };
    let mut buffer = [const { MaybeUninit::<u64>::uninit() }; (EHDR + MOST * PHDR) / 8];
    let header = (&raw mut buffer) as usize;
    // SAFETY: the buffer.
    let got = unsafe { call(SYS_PREAD, [file, header, EHDR + MOST * PHDR, 0, 0, 0]) };
    let (failed, short) = (got >= ERRORS, got < EHDR);
    if auxv == 0 || failed || short {
        return NOT_PLAIN;
    }
    // SAFETY: the buffer has an ELF header; so for the next five.
    let ident = unsafe { load::<u64>(header) } & 0x00ff_ffff_ffff_ffff;
    // SAFETY: as above.
    let kind = unsafe { load::<u32>(header.wrapping_add(16)) };
    // SAFETY: as above; e_entry.
    let entry = unsafe { load::<usize>(header.wrapping_add(24)) };
    // SAFETY: as above; e_phoff.
    let table = unsafe { load::<usize>(header.wrapping_add(32)) };
    // SAFETY: as above; e_phentsize and e_phnum.
    let sizes = unsafe { load::<u32>(header.wrapping_add(54)) } as usize;
    let count = sizes.wrapping_shr(16);
    let all = got >= count.wrapping_mul(PHDR).wrapping_add(EHDR);
    if ident != IDENT
        || kind != DYNAMIC && kind != FIXED
        || table != EHDR
        || sizes & 0xffff != PHDR
        || count > MOST
        || !all
    {
        return NOT_PLAIN;
    }
    // SAFETY: the headers are in the buffer.
    let (base, size) = unsafe { map(file, header, count, kind == FIXED) };
    if base == 0 {
        return NOT_PLAIN;
    }
    let phdrs = base.wrapping_add(EHDR);
    let at = if kind == FIXED { entry } else { base.wrapping_add(entry) };
    // SAFETY: mapped by these headers.
    let Entry { address, called } = unsafe { slul_plain_program(phdrs, count, at) };
    if address == 0 {
        // SAFETY: nothing there is in use.
        unsafe { unmap(base, size) };
        return NOT_PLAIN;
    }
    // From here on it is the program's start.
    // SAFETY: an open file.
    let path = unsafe { path_of(file) };
    // SAFETY: argv's second word, which is the program's argv[0].
    let given = unsafe { load::<usize>(sp.wrapping_add(16)) };
    let path = if path == 0 { given } else { path };
    // SAFETY: a string.
    unsafe { set_name(path) };
    // SAFETY: nobody uses it any more.
    let _ = unsafe { call(SYS_CLOSE, [file, 0, 0, 0, 0, 0]) };
    let entries = Entries { phdrs, count, own_header, entry: at, path };
    // SAFETY: the kernel's block.
    unsafe { make_programs(sp, argc, auxv, entries) };
    PlainStart { entry: address, auxv: if called { auxv.wrapping_sub(8) } else { 0 } }
}
