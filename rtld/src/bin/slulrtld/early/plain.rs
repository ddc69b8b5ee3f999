//! The plain start: a program that needs nothing of the loader is entered at once.
//!
//! Here you have: the kernel's block, and this function's own stack frame. Not yet: relocations (no address
//! in a static, no call into another crate, no panic, no memcpy), thread-local storage, or leave to write to
//! the loader's data or to make a system call. `cargo xtask audit` reads the machine code for all of it.
//!
//! Plain means: no DT_NEEDED, no relocations, no initialisers or finalisers, no PT_TLS, no `LD_SLUL_*`,
//! LD_SHOW_AUXV or LD_TRACE_LOADED_OBJECTS, and AT_SECURE present and 0. Nothing is sealed: without relocations RELRO holds nothing that a
//! start has written. In any doubt the answer is no, and the full start looks again with all its checks.
//!
//! # Safety
//! This file exists because the program's headers are read before anything vouches for them. They are read
//! only where the kernel mapped them: AT_PHDR and its page, and what lies inside the file's part of a PT_LOAD. A file
//! that was cut off after the kernel's own checks ends the process by SIGBUS, as under any interpreter.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use crate::cpu::{load, store};

/// Answer of [`slul_plain_start`].
#[repr(C)]
pub(crate) struct PlainStart {
    /// Where to go; 0 if the start is not plain.
    pub(crate) entry: usize,
    /// Address of auxv if the entry is a C function (`CALL_ENTRY`), 0 if it is entered as by the kernel.
    pub(crate) auxv: usize,
}

pub(crate) const NOT_PLAIN: PlainStart = PlainStart { entry: 0, auxv: 0 };

const AT_PHDR: usize = 3;
const AT_PHENT: usize = 4;
const AT_PHNUM: usize = 5;
const AT_BASE: usize = 7;
const AT_ENTRY: usize = 9;
const AT_SECURE: usize = 23;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_TLS: u32 = 7;
const PF_R: u32 = 4;
const PF_X: u32 = 1;
/// Most bytes of a file between one PT_LOAD and the next that linkers leave, where pages are as small as they can be.
const FILE_GAP: usize = 64 << 10;
const PHDR_SIZE: usize = 56;
const EHDR_SIZE: usize = 64;

/// `\x7fELF` as a word of this machine.
const ELF_MAGIC: u32 = u32::from_ne_bytes(*b"\x7fELF");

/// Tags below 64 that ask something of the loader, unless their value is 0: DT_NEEDED (1), DT_PLTRELSZ (2),
/// DT_RELASZ (8), DT_INIT (12), DT_FINI (13), DT_RELSZ (18), DT_INIT_ARRAYSZ (27), DT_FINI_ARRAYSZ (28),
/// DT_PREINIT_ARRAYSZ (33), DT_RELRSZ (35).
const WORK: u64 = 1 << 1 | 1 << 2 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 18 | 1 << 27 | 1 << 28 | 1 << 33 | 1 << 35;

/// `SLUL` as a word of this machine.
const SLUL: u32 = u32::from_ne_bytes(*b"SLUL");

/// Whether the variable at `address` may be one that the loader acts on even where there is nothing to load: it begins
/// with `LD_S` (`LD_SLUL_*`, `LD_SHOW_AUXV`) or `LD_T` (`LD_TRACE_LOADED_OBJECTS`).
#[inline(always)]
pub(crate) unsafe fn is_ours(address: usize) -> bool {
    let mut rest = u32::from_le_bytes(*b"LD_\0");
    let mut at = address;
    while rest != 0 {
        // SAFETY: all bytes before this one matched, so the string has not ended yet.
        let byte = unsafe { load::<u8>(at) };
        if byte as u32 != rest & 0xff {
            return false;
        }
        at = at.wrapping_add(1);
        rest = rest.wrapping_shr(8);
    }
    // SAFETY: as above.
    let last = unsafe { load::<u8>(at) };
    last == b'S' || last == b'T'
}

/// Whether `[vaddr, vaddr + size)` is in what the kernel mapped from the file, with the permission `flag`.
#[inline(always)]
unsafe fn is_mapped(phdrs: usize, count: usize, vaddr: usize, size: usize, flag: u32) -> bool {
    let mut phdr = phdrs;
    let end = phdrs.wrapping_add(count.wrapping_mul(PHDR_SIZE));
    while phdr != end {
        // SAFETY: AT_PHDR and AT_PHNUM describe the table that the kernel mapped; so in all of this loop.
        let kind = unsafe { load::<u32>(phdr) };
        // SAFETY: as above.
        let flags = unsafe { load::<u32>(phdr.wrapping_add(4)) };
        // SAFETY: as above.
        let start = unsafe { load::<usize>(phdr.wrapping_add(16)) };
        // SAFETY: as above.
        let len = unsafe { load::<usize>(phdr.wrapping_add(32)) };
        let into = vaddr.wrapping_sub(start);
        if kind == PT_LOAD && flags & flag != 0 && into <= len && size <= len.wrapping_sub(into) {
            return true;
        }
        phdr = phdr.wrapping_add(PHDR_SIZE);
    }
    false
}

/// Whether the section asks for work, and so the start is not plain. It is `size` bytes at `address`.
#[inline(always)]
unsafe fn has_work(address: usize, size: usize) -> bool {
    let mut at = 0usize;
    while at.wrapping_add(16) <= size {
        // SAFETY: the caller checked that the section is mapped.
        let tag = unsafe { load::<u64>(address.wrapping_add(at)) };
        // SAFETY: as above.
        let value = unsafe { load::<u64>(address.wrapping_add(at).wrapping_add(8)) };
        if tag == 0 {
            return false;
        }
        // SAFETY: as above; the tag's lower half, as the shift wants it.
        let shift = unsafe { load::<u32>(address.wrapping_add(at)) };
        // The value 0 asks for nothing, but for the name at offset 0 that DT_NEEDED would give.
        if tag < 64 && WORK.wrapping_shr(shift) & 1 != 0 && (value != 0 || tag == 1) {
            return true;
        }
        at = at.wrapping_add(16);
    }
    false
}

/// How the program is entered.
#[repr(C)]
pub(crate) struct Entry {
    /// Where; 0 if the full start has to look at it.
    pub(crate) address: usize,
    /// Whether it is a C function (`CALL_ENTRY`).
    pub(crate) called: bool,
}

/// Looks for our notes in the `size` bytes at `address`, and answers how the program is entered that, without them, is
/// entered as `entry` says.
#[inline(always)]
unsafe fn note(address: usize, size: usize, mut entry: Entry) -> Entry {
    let mut at = 0usize;
    while size.wrapping_sub(at) >= 12 && size >= at {
        let found = address.wrapping_add(at);
        // SAFETY: the caller checked that the segment is mapped; twelve bytes are left in it.
        let name_size = unsafe { load::<u32>(found) } as usize;
        // SAFETY: as above.
        let desc_size = unsafe { load::<u32>(found.wrapping_add(4)) } as usize;
        // SAFETY: as above.
        let kind = unsafe { load::<u32>(found.wrapping_add(8)) };
        let name_end = name_size.wrapping_add(3) & !3;
        let end = name_end.wrapping_add(desc_size.wrapping_add(3) & !3).wrapping_add(12);
        let is_abi = kind == rt0::NT_SLUL_ABI;
        if name_size == 5 && (is_abi || kind == rt0::NT_SLUL_RT0) {
            let least = if is_abi { rt0::ABI_NOTE_DESC_SIZE } else { 4 };
            if desc_size < least || end > size.wrapping_sub(at) {
                return DOUBTFUL;
            }
            // SAFETY: `end` bytes of the entry are left in the segment; so for all after this.
            let owner = unsafe { load::<u32>(found.wrapping_add(12)) };
            // SAFETY: as above.
            let nul = unsafe { load::<u8>(found.wrapping_add(16)) };
            // SAFETY: as above. Of rt0's note, the distance from here to the entry.
            let abi = unsafe { load::<u32>(found.wrapping_add(20)) };
            if owner == SLUL && nul == 0 && is_abi {
                // SAFETY: as above.
                let flags = unsafe { load::<u32>(found.wrapping_add(24)) };
                // SAFETY: as above.
                let min_loader = unsafe { load::<u32>(found.wrapping_add(28)) };
                let known = flags & rt0::MANDATORY_FLAGS & !rt0::FLAG_CALL_ENTRY == 0;
                if (abi & 0xffff) > rt0::ABI_MAJOR as u32 || min_loader > rt0::LOADER_VERSION || !known {
                    return DOUBTFUL;
                }
                entry.called = flags & rt0::FLAG_CALL_ENTRY != 0;
            } else if owner == SLUL && nul == 0 {
                entry.address = found.wrapping_add(20).wrapping_add(abi as i32 as usize);
            }
        }
        at = at.wrapping_add(end);
    }
    entry
}

const DOUBTFUL: Entry = Entry { address: 0, called: false };

/// Decides whether the start is plain. `own_entry` is where this loader would be entered as a program.
///
/// # Safety
/// `sp` is the stack pointer as the kernel left it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_start(sp: usize, own_entry: usize) -> PlainStart {
    // SAFETY: the kernel's block begins with argc.
    let argc = unsafe { load::<usize>(sp) };
    let mut at = sp.wrapping_add(argc.wrapping_mul(8)).wrapping_add(16);
    loop {
        // SAFETY: envp follows argv's NULL and ends with its own.
        let variable = unsafe { load::<usize>(at) };
        at = at.wrapping_add(8);
        if variable == 0 {
            break;
        }
        // SAFETY: a string of the environment.
        if unsafe { is_ours(variable) } {
            return NOT_PLAIN;
        }
    }
    let auxv = at;
    // A word for each key up to the largest that matters, AT_SECURE; written and read by `store` and `load` alone, so that no branch on
    // the key becomes a jump table.
    let mut values = [const { MaybeUninit::<usize>::uninit() }; AT_SECURE + 1];
    let values = (&raw mut values) as usize;
    let place = |key: usize| values.wrapping_add(key.wrapping_mul(8));
    let mut key = AT_PHDR;
    while key <= AT_ENTRY {
        // SAFETY: a word of `values`.
        unsafe { store(place(key), 0) };
        key = key.wrapping_add(1);
    }
    // SAFETY: a word of `values`.
    unsafe { store(place(AT_SECURE), 1) };
    loop {
        // SAFETY: auxv follows envp's NULL and ends with AT_NULL.
        let key = unsafe { load::<usize>(at) };
        if key == 0 {
            break;
        }
        if key <= AT_SECURE {
            // SAFETY: entries are pairs.
            let value = unsafe { load::<usize>(at.wrapping_add(8)) };
            // SAFETY: a word of `values`.
            unsafe { store(place(key), value) };
        }
        at = at.wrapping_add(16);
    }
    // SAFETY: words of `values`, all of them written above; so for the next five.
    let phdrs = unsafe { load::<usize>(place(AT_PHDR)) };
    // SAFETY: as above.
    let count = unsafe { load::<usize>(place(AT_PHNUM)) };
    // SAFETY: as above.
    let entry_size = unsafe { load::<usize>(place(AT_PHENT)) };
    // SAFETY: as above.
    let base = unsafe { load::<usize>(place(AT_BASE)) };
    // SAFETY: as above.
    let entry = unsafe { load::<usize>(place(AT_ENTRY)) };
    // SAFETY: as above.
    let secure = unsafe { load::<usize>(place(AT_SECURE)) };
    // Executed directly, the loader is its own program: AT_BASE is 0, or the entry is ours.
    if secure != 0 || base == 0 || entry == own_entry || entry_size != PHDR_SIZE {
        return NOT_PLAIN;
    }
    if phdrs == 0 || count == 0 || entry == 0 {
        return NOT_PLAIN;
    }
    // SAFETY: the kernel's values.
    let entry = unsafe { slul_plain_program(phdrs, count, entry) };
    // Nobody is told of auxv where there is nowhere to go.
    PlainStart { entry: entry.address, auxv: if entry.called { auxv } else { 0 } }
}

/// Looks at the headers of a program that is mapped.
///
/// # Safety
/// There are `count` program headers at `phdrs`, by which the program is mapped; `entry` is where its `e_entry` is.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_program(phdrs: usize, count: usize, entry: usize) -> Entry {
    let mut answer = Entry { address: entry, called: false };
    let mut phdr = phdrs;
    let end = phdrs.wrapping_add(count.wrapping_mul(PHDR_SIZE));
    // The ELF header tells where the program is, if it is where linkers put it: in the page of the program headers,
    // and naming them. The kernel has computed AT_ENTRY of the same header. What is otherwise takes more than a
    // glance.
    let header = phdrs & !0xfff;
    let before = phdrs & 0xfff;
    if before < EHDR_SIZE {
        return DOUBTFUL;
    }
    // SAFETY: the headers begin in this page, which the kernel mapped, after at least the size of an ELF header; so
    // for the next two.
    let magic = unsafe { load::<u32>(header) };
    // SAFETY: as above; e_phoff.
    let offset = unsafe { load::<usize>(header.wrapping_add(32)) };
    // SAFETY: as above; e_entry.
    let bias = entry.wrapping_sub(unsafe { load::<usize>(header.wrapping_add(24)) });
    if magic != ELF_MAGIC || offset != before {
        return DOUBTFUL;
    }
    let mut file_end = 0usize;
    let mut entered = false;
    while phdr != end {
        // Read anew for each question, so that the compiler does not make a jump table of them.
        // SAFETY: AT_PHDR and AT_PHNUM describe the table that the kernel mapped; so in all of this loop.
        if unsafe { load::<u32>(phdr) } == PT_LOAD {
            // SAFETY: as above.
            let size = unsafe { load::<usize>(phdr.wrapping_add(32)) };
            if size != 0 {
                // SAFETY: as above.
                let offset = unsafe { load::<usize>(phdr.wrapping_add(8)) };
                // A segment far from the one before it may be beyond the end of the file.
                if offset.wrapping_sub(file_end) > FILE_GAP {
                    return DOUBTFUL;
                }
                file_end = offset.wrapping_add(size);
            }
            // SAFETY: as above.
            if unsafe { load::<u32>(phdr.wrapping_add(4)) } & PF_X != 0 {
                // SAFETY: as above.
                let vaddr = unsafe { load::<usize>(phdr.wrapping_add(16)) };
                entered |= entry.wrapping_sub(bias).wrapping_sub(vaddr) < size;
            }
        }
        // SAFETY: as above.
        let kind = unsafe { load::<u32>(phdr) };
        if kind == PT_TLS {
            return DOUBTFUL;
        } else if kind == PT_DYNAMIC || kind == PT_NOTE {
            // SAFETY: as above.
            let vaddr = unsafe { load::<usize>(phdr.wrapping_add(16)) };
            // SAFETY: as above.
            let size = unsafe { load::<usize>(phdr.wrapping_add(32)) };
            // SAFETY: as above.
            let memory_size = unsafe { load::<usize>(phdr.wrapping_add(40)) };
            // SAFETY: the kernel's values.
            if size != memory_size || !unsafe { is_mapped(phdrs, count, vaddr, size, PF_R) } {
                return DOUBTFUL;
            }
            let address = bias.wrapping_add(vaddr);
            if kind == PT_DYNAMIC {
                // SAFETY: just checked to be mapped.
                if unsafe { has_work(address, size) } {
                    return DOUBTFUL;
                }
            } else {
                // SAFETY: just checked to be mapped.
                answer = unsafe { note(address, size, answer) };
                if answer.address == 0 {
                    return DOUBTFUL;
                }
            }
        }
        phdr = phdr.wrapping_add(PHDR_SIZE);
    }
    // Behind a stub, the program's own entry has to be code, too.
    if answer.address != entry {
        // SAFETY: the kernel's values.
        entered &= unsafe { is_mapped(phdrs, count, answer.address.wrapping_sub(bias), 1, PF_X) };
    }
    if entered { answer } else { DOUBTFUL }
}
