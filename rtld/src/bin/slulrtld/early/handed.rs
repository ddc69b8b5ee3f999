//! The plain start of a program that rt0 hands over: it is mapped and entered before the loader relocates itself.
//!
//! Available here: the same as in `plain.rs`, and system calls. In any doubt nothing is changed, and the full start
//! begins anew, with all its checks. The program must be plain, have all its memory in its file, and have no hole
//! between its segments.
//!
//! # Safety
//! This file exists because the program's headers are read, and the program is mapped, before the loader is relocated.
//! Headers are read into this function's own frame, and the program is mapped where the kernel finds room.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY, AT_EXECFN, AT_PHDR, AT_PHNUM, AT_SECURE};
use linux_raw_sys::general::{
    __NR_close, __NR_mmap, __NR_munmap, __NR_prctl, __NR_pread64, __NR_readlink, MAP_ANONYMOUS, MAP_FIXED,
    MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE,
};
use linux_raw_sys::prctl::PR_SET_NAME;
use rtld::elf::{Ehdr, Phdr, consts};
use rtld::machine::{Machine, Native};

use crate::cpu::ops::{PAGE, call, store};
use crate::early::block::{RawBlock, Values};
use crate::early::listed::list_program;
use crate::early::plain::{NOT_PLAIN, PlainStart, ProgramEntry, slul_plain_program};
use crate::early::raw::{At, Records};
use crate::early::text::EarlyString;

/// Smallest result of a system call that is an error number.
const ERRORS: usize = usize::MAX - 4095;

const EHDR: usize = size_of::<Ehdr>();
const PHDR: usize = size_of::<Phdr>();
/// Largest number of program headers of such a program.
const MOST: usize = 13;
/// `\x7fELF`, and the class, the encoding and the version that a file for this machine has.
const IDENT: u64 = (consts::EV_CURRENT as u64) << 48
    | (consts::ELFDATA2LSB as u64) << 40
    | (consts::ELFCLASS64 as u64) << 32
    | u32::from_le_bytes(*b"\x7fELF") as u64;
/// The end of addresses and sizes that are added up without overflow.
const SANE: usize = 1 << 40;

/// The descriptor in rt0's marker (`abi::stub`).
#[inline(always)]
fn descriptor(marker: EarlyString) -> Option<usize> {
    let Some((abi::stub::MARK, mut rest)) = marker.split() else { return None };
    let mut value = 0usize;
    let mut left = abi::stub::DIGITS;
    while left != 0 {
        let (byte, next) = known!(rest.split());
        let digit = match byte {
            b'0'..=b'9' => byte.wrapping_sub(b'0'),
            b'a'..=b'f' => byte.wrapping_sub(b'a' - 10),
            _ => return None,
        };
        value = value.wrapping_shl(4) | digit as usize;
        rest = next;
        left = left.wrapping_sub(1);
    }
    if rest.split().is_none() { Some(value) } else { None }
}

/// Memory that this file mapped.
#[derive(Clone, Copy)]
struct Area {
    start: usize,
    size: usize,
}

impl Area {
    /// Unmaps it. Nothing in it is in use.
    #[inline(always)]
    fn unmap(self) {
        if self.start != 0 {
            // SAFETY: memory that this file mapped, and that is unused.
            let _ = unsafe { call(__NR_munmap, [self.start, self.size, 0, 0, 0, 0]) };
        }
    }
}

/// The pages of the file that a PT_LOAD names.
struct Part {
    /// Its first page in memory.
    start: usize,
    /// The end of its pages.
    end: usize,
    /// Its first page in the file.
    from: usize,
    /// PROT_*.
    protection: usize,
}

/// The pages to map for a PT_LOAD, if it is of the usual form.
#[inline(always)]
fn part(phdr: At<Phdr>) -> Option<Part> {
    let (flags, offset, vaddr, size) = (phdr.flags(), phdr.offset(), phdr.vaddr(), phdr.filesz());
    let readable = flags & consts::PF_R != 0;
    let both = flags & (consts::PF_W | consts::PF_X) == consts::PF_W | consts::PF_X;
    let as_usual = size == phdr.memsz() && phdr.align() == PAGE && readable && !both;
    let placed = (vaddr ^ offset) & (PAGE - 1) == 0;
    let sane = vaddr < SANE && size < SANE && size != 0;
    if !(as_usual && placed && sane) {
        return None;
    }
    let writable = if flags & consts::PF_W != 0 { PROT_WRITE } else { 0 };
    let executable = if flags & consts::PF_X != 0 { PROT_EXEC } else { 0 };
    Some(Part {
        start: vaddr & !(PAGE - 1),
        end: vaddr.wrapping_add(size).wrapping_add(PAGE - 1) & !(PAGE - 1),
        from: offset & !(PAGE - 1),
        protection: (PROT_READ | writable | executable) as usize,
    })
}

/// Maps the program whose headers were read; if `fixed`, at its own addresses.
#[inline(always)]
fn map(file: usize, headers: Records<Phdr>, headers_end: usize, fixed: bool) -> Option<Area> {
    // The first round finds the size, the second maps. `origin` is the first address of the program, or 0 if the kernel
    // chooses.
    let mut area = Area { start: 0, size: 0 };
    let mut origin = 0usize;
    let mut pass = 0u32;
    while pass < 2 {
        let mut at = 0usize;
        let mut rest = headers.rest();
        while let Some(phdr) = rest.next() {
            let kind = phdr.kind();
            // The full start does what is to be done.
            let executable_stack = kind == consts::PT_GNU_STACK && phdr.flags() & consts::PF_X != 0;
            if kind == consts::PT_INTERP || kind == consts::PT_TLS || executable_stack {
                return None;
            }
            if kind != consts::PT_LOAD {
                continue;
            }
            let Part { start, end, from, protection } = known!(part(phdr));
            let first = at == 0;
            if first && fixed {
                origin = start;
            }
            let has_headers = phdr.offset() == 0 && phdr.filesz() >= headers_end;
            if start.wrapping_sub(origin) != at || first && !has_headers {
                return None;
            }
            if pass == 1 {
                let how = if !first {
                    MAP_FIXED
                } else if fixed {
                    MAP_FIXED_NOREPLACE
                } else {
                    0
                };
                let place = if first { origin } else { area.start.wrapping_add(at) };
                let len = if first { area.size } else { end.wrapping_sub(start) };
                let how = (how | MAP_PRIVATE) as usize;
                // SAFETY: where the kernel finds room, and then within that.
                let got = unsafe { call(__NR_mmap, [place, len, protection, how, file, from]) };
                if first && got < ERRORS {
                    area.start = got;
                }
                // Before Linux 4.17 the address is only a hint.
                if got >= ERRORS || fixed && area.start != origin {
                    area.unmap();
                    return None;
                }
            }
            at = end.wrapping_sub(origin);
        }
        area.size = at;
        pass = pass.wrapping_add(1);
        if at == 0 {
            return None;
        }
    }
    Some(area)
}

/// The path of the open file `file`, in a page of its own; `None` if /proc does not tell.
#[inline(always)]
fn path_of(file: usize) -> Option<EarlyString> {
    const LINK: usize = 32;
    // "/proc/self/fd/", and the number's decimal digits from the last on.
    let mut link = [const { MaybeUninit::<u64>::uninit() }; LINK / 8];
    let link = (&raw mut link) as usize;
    let mut digits = 0usize;
    let mut count = 0usize;
    let mut rest = file;
    loop {
        digits = digits.wrapping_shl(8) | rest.wrapping_rem(10).wrapping_add(b'0' as usize);
        count = count.wrapping_add(1);
        rest = rest.wrapping_div(10);
        if rest == 0 {
            break;
        }
    }
    // The number's first two bytes; the first is written again where the others are.
    let start = usize::from_le_bytes(*b"lf/fd/\0\0") | (digits & 0xffff).wrapping_shl(48);
    let words = [(0usize, usize::from_le_bytes(*b"/proc/se")), (14, digits), (8, start)];
    let [(first, a), (second, b), (third, c)] = words;
    // SAFETY: words of `link`. The number has at most eight digits.
    unsafe {
        store(link.wrapping_add(first), a);
        store(link.wrapping_add(second), b);
        store(link.wrapping_add(third), c);
        store(link.wrapping_add(14).wrapping_add(count), 0);
    }
    let (protection, how) = ((PROT_READ | PROT_WRITE) as usize, (MAP_PRIVATE | MAP_ANONYMOUS) as usize);
    // SAFETY: where the kernel finds room.
    let page = unsafe { call(__NR_mmap, [0, PAGE, protection, how, usize::MAX, 0]) };
    if page >= ERRORS {
        return None;
    }
    // SAFETY: the page, of which a byte stays 0.
    let got = unsafe { call(__NR_readlink, [link, page, PAGE - 1, 0, 0, 0]) };
    // SAFETY: a string, if only the empty one: zeros follow what was written.
    let path = unsafe { EarlyString::new(page) };
    if got < PAGE - 1
        && let Some((b'/', _)) = path.split()
    {
        return Some(path);
    }
    Area { start: page, size: PAGE }.unmap();
    None
}

/// The `p_vaddr` of PT_DYNAMIC; 0 without one.
#[inline(always)]
fn dynamic_section(headers: Records<Phdr>) -> usize {
    let mut rest = headers;
    while let Some(phdr) = rest.next() {
        if phdr.kind() == consts::PT_DYNAMIC {
            return phdr.vaddr();
        }
    }
    0
}

/// The entries in which the program's auxiliary vector differs from the loader's.
struct Differences {
    phdrs: usize,
    count: usize,
    own_header: usize,
    entry: usize,
    path: usize,
}

impl Differences {
    /// The program's value for a key that has `value` in the loader's.
    #[inline(always)]
    fn value(&self, key: usize, value: usize) -> usize {
        let Self { phdrs, count, own_header, entry, path } = *self;
        let mut new = value;
        new = if key == AT_PHDR as usize { phdrs } else { new };
        new = if key == AT_PHNUM as usize { count } else { new };
        new = if key == AT_BASE as usize { own_header } else { new };
        new = if key == AT_ENTRY as usize { entry } else { new };
        if key == AT_EXECFN as usize { path } else { new }
    }
}

/// Maps the program that rt0 hands over, for a plain start. `own_entry` is the entry of this loader as a program, and
/// `own_header` the address of its ELF header.
///
/// # Safety
/// `sp` is the stack pointer that the kernel set.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_handed(sp: usize, own_entry: usize, own_header: usize) -> PlainStart {
    // SAFETY: by the caller.
    let block = unsafe { RawBlock::at(sp) };
    let Some(file) = block.first_argument().and_then(descriptor) else { return NOT_PLAIN };
    let Some(given) = block.second_argument() else { return NOT_PLAIN };
    let mut values = Values::new();
    let Some(auxv) = block.walk(&mut values) else { return NOT_PLAIN };
    if values.get(AT_SECURE) != 0 || values.get(AT_ENTRY) != own_entry {
        return NOT_PLAIN;
    }
    let mut buffer = [const { MaybeUninit::<u64>::uninit() }; (EHDR + MOST * PHDR) / 8];
    let start = (&raw mut buffer) as usize;
    // SAFETY: the buffer.
    let got = unsafe { call(__NR_pread64, [file, start, EHDR + MOST * PHDR, 0, 0, 0]) };
    if !(EHDR..ERRORS).contains(&got) {
        return NOT_PLAIN;
    }
    // SAFETY: the buffer has an ELF header.
    let header = unsafe { At::<Ehdr>::new(start) };
    let (kind, entry, count) = (header.kind(), header.entry(), header.phnum() as usize);
    let fixed = kind == consts::ET_EXEC;
    if header.ident() != IDENT
        || header.machine() != Native::E_MACHINE
        || !fixed && kind != consts::ET_DYN
        || header.phoff() != EHDR
        || header.phentsize() as usize != PHDR
        || count > MOST
    {
        return NOT_PLAIN;
    }
    let headers_end = count.wrapping_mul(PHDR).wrapping_add(EHDR);
    if got < headers_end {
        return NOT_PLAIN;
    }
    // SAFETY: so many are in the buffer.
    let headers = unsafe { Records::new(start.wrapping_add(EHDR), count) };
    let Some(area) = map(file, headers.rest(), headers_end, fixed) else { return NOT_PLAIN };
    let phdrs = area.start.wrapping_add(EHDR);
    let at = if fixed { entry } else { area.start.wrapping_add(entry) };
    // SAFETY: mapped by these headers.
    let ProgramEntry { address, called, .. } = unsafe { slul_plain_program(phdrs, count, at) };
    if address == 0 {
        area.unmap();
        return NOT_PLAIN;
    }
    // From here on it is the program's start.
    let path = match path_of(file) {
        Some(path) => path,
        None => given,
    };
    // SAFETY: the kernel copies the string; the descriptor is not used any more.
    unsafe {
        call(__NR_prctl, [PR_SET_NAME as usize, path.file_name().address(), 0, 0, 0, 0]);
        call(__NR_close, [file, 0, 0, 0, 0, 0]);
    }
    let dynamic = dynamic_section(headers);
    let bias = if fixed { 0 } else { area.start };
    let dynamic = if dynamic == 0 { 0 } else { dynamic.wrapping_add(bias) };
    list_program(bias, path.address(), dynamic);
    let differences = Differences { phdrs, count, own_header, entry: at, path: path.address() };
    let auxv = auxv.drop_argument(|key, value| differences.value(key, value));
    PlainStart { entry: address, auxv: if called { auxv } else { 0 } }
}
