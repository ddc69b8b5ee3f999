//! The plain start: a program that needs nothing of the loader is entered at once.
//!
//! Available here: the kernel's block, and this function's own stack frame. Not available: relocations (so no address
//! in a static, no call into another crate, no panic, no memcpy), thread-local storage, writes to the loader's data,
//! system calls. `cargo xtask audit` checks the machine code for all of it.
//!
//! Plain means: no DT_NEEDED, no relocations, no initialisers or finalisers, no PT_TLS, no `LD_SLUL_*`, LD_SHOW_AUXV or
//! LD_TRACE_LOADED_OBJECTS, and AT_SECURE present and 0. RELRO is not sealed, because without relocations a start writes
//! nothing to it. In any doubt the start is not plain, and the full start examines the program with all its checks.
//!
//! # Safety
//! This file exists because the program's headers are read before they are checked. Only memory that the kernel has
//! mapped is read: the page of AT_PHDR, and the file's part of each PT_LOAD. A file that was cut off after the kernel's
//! own checks ends the process by SIGBUS, as under any interpreter.
#![allow(unsafe_code)]

use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY, AT_PHDR, AT_PHENT, AT_PHNUM, AT_SECURE};
use rtld::elf::{Dyn, Phdr, consts};

use crate::early::block::{RawBlock, Values};
use crate::early::program::Program;
use crate::early::raw::{Bytes, NoteHead, OurAbiNote, OurNote};

/// Result of [`slul_plain_start`].
#[repr(C)]
pub(crate) struct PlainStart {
    /// Address to enter; 0 if the start is not plain.
    pub(crate) entry: usize,
    /// Address of auxv if the entry is a C function (`CALL_ENTRY`), 0 if it is entered in the kernel's way.
    pub(crate) auxv: usize,
}

pub(crate) const NOT_PLAIN: PlainStart = PlainStart { entry: 0, auxv: 0 };

/// Most bytes of a file between one PT_LOAD and the next that linkers leave, where pages are as small as they can be.
const FILE_GAP: usize = 64 << 10;

/// Tags below 64 that ask something of the loader, unless their value is 0.
const WORK: u64 = bits([
    consts::DT_NEEDED,
    consts::DT_PLTRELSZ,
    consts::DT_RELASZ,
    consts::DT_INIT,
    consts::DT_FINI,
    consts::DT_RELSZ,
    consts::DT_TEXTREL,
    consts::DT_FLAGS,
    consts::DT_INIT_ARRAYSZ,
    consts::DT_FINI_ARRAYSZ,
    consts::DT_PREINIT_ARRAYSZ,
    consts::DT_RELRSZ,
]);

/// Flags of DT_FLAGS_1 that ask for nothing: DF_1_NOW and DF_1_PIE.
pub(crate) const IDLE_FLAGS_1: usize = 1 | 0x0800_0000;

/// A bit for each of the tags, which are below 64.
pub(crate) const fn bits<const N: usize>(tags: [u64; N]) -> u64 {
    let mut bits = 0;
    let mut rest = tags.as_slice();
    while let [tag, others @ ..] = rest {
        bits |= 1 << *tag;
        rest = others;
    }
    bits
}

/// `SLUL` as a word of this machine.
const SLUL: u32 = u32::from_ne_bytes(*b"SLUL");

/// Whether a dynamic section asks for work of the loader, so that the start is not plain.
#[inline(always)]
fn has_work(section: Bytes, entry_point: &mut ProgramEntry) -> bool {
    let mut entries = section.run::<Dyn>();
    while let Some(entry) = entries.next() {
        let (tag, value) = (entry.tag(), entry.value());
        if tag == 0 {
            return false;
        }
        if tag < 64 {
            if WORK.wrapping_shr(entry.low_tag()) & 1 == 0 {
                continue;
            }
            // The value 0 asks for nothing, but for the name at offset 0 that DT_NEEDED would give, and where the tag says all.
            let is = |tag: u64| entry.tag() as u64 == tag;
            let idle = is(consts::DT_FLAGS) && value as u64 & consts::DF_TEXTREL == 0;
            if is(consts::DT_INIT) && value as u64 == abi::note::CALL_ENTRY_INIT {
                entry_point.marked = true;
                continue;
            }
            if (value != 0 || is(consts::DT_NEEDED) || is(consts::DT_TEXTREL)) && !idle {
                return true;
            }
        } else {
            // Larger tags are for the full start, but for two that linkers write into every program.
            let idle = tag as u64 == consts::DT_FLAGS_1 && value & !IDLE_FLAGS_1 == 0;
            if tag as u64 != consts::DT_GNU_HASH && !idle {
                return true;
            }
        }
    }
    false
}

/// The entry of the program.
#[repr(C)]
pub(crate) struct ProgramEntry {
    /// Its address; 0 if the full start must examine the program.
    pub(crate) address: usize,
    /// Whether it is a C function (`CALL_ENTRY`).
    pub(crate) called: bool,
    /// Whether there was an ABI note.
    pub(crate) noted: bool,
    /// Whether there was a stub's note.
    pub(crate) stubbed: bool,
    /// Whether DT_INIT says what the ABI note would, if that was lost.
    pub(crate) marked: bool,
}

/// Looks for our notes in a segment, which say how the program is entered. Answers whether the full start need not look at
/// them.
#[inline(always)]
pub(crate) fn note(segment: Bytes, entry: &mut ProgramEntry) -> bool {
    slul_early_note(segment, entry)
}

/// [`note`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_early_note(segment: Bytes, entry: &mut ProgramEntry) -> bool {
    let mut rest = segment;
    while let Some(head) = rest.first::<NoteHead>() {
        let (name_size, desc_size) = (head.name_size() as usize, head.desc_size() as usize);
        let kind = head.kind();
        let name_end = name_size.wrapping_add(3) & !3;
        let end = name_end.wrapping_add(desc_size.wrapping_add(3) & !3).wrapping_add(size_of::<NoteHead>());
        let is_abi = kind == abi::note::NT_SLUL_ABI;
        if name_size == abi::note::NOTE_OWNER.len() && (is_abi || kind == abi::note::NT_SLUL_RT0) {
            let least = if is_abi { abi::note::ABI_NOTE_DESC_SIZE } else { STUB_DESC };
            let Some(ours) = rest.first::<OurNote>() else { return false };
            if desc_size < least || end > rest.size() {
                return false;
            }
            // Of rt0's note, the distance from here to the entry.
            let (owner, nul, first) = (ours.owner(), ours.nul(), ours.first());
            if owner == SLUL && nul == 0 && is_abi {
                let Some(abi) = rest.first::<OurAbiNote>() else { return false };
                let (flags, min_loader) = (abi.flags(), abi.min_loader());
                let known = flags & abi::note::MANDATORY_FLAGS & !abi::note::FLAG_CALL_ENTRY == 0;
                // Of two notes the full start takes the first.
                if entry.noted
                    || (first & 0xffff) > abi::note::ABI_MAJOR as u32
                    || min_loader > abi::note::LOADER_VERSION
                    || !known
                {
                    return false;
                }
                entry.called = flags & abi::note::FLAG_CALL_ENTRY != 0;
                entry.noted = true;
            } else if owner == SLUL && nul == 0 && !entry.stubbed {
                entry.stubbed = true;
                let descriptor = ours.address().wrapping_add(DESCRIPTOR);
                entry.address = descriptor.wrapping_add(first as i32 as usize);
            }
        }
        rest = rest.skip(end);
    }
    true
}

/// Size in bytes of the descriptor of a stub's note.
const STUB_DESC: usize = abi::note::RT0_NOTE_DESC_SIZE;

/// Size in bytes of a stub's note.
pub(crate) const STUB_NOTE: usize = abi::note::RT0_NOTE_SIZE;

/// Whether bytes begin as a stub's note does.
#[inline(always)]
pub(crate) fn is_of_stub(bytes: Bytes) -> bool {
    match bytes.first::<NoteHead>() {
        Some(head) => head.name_size() == abi::note::OWNER_SIZE && head.desc_size() as usize == STUB_DESC,
        None => false,
    }
}

/// Looks at what may be a stub's note right before the entry. It comes before any other: tools move those that program headers
/// name, but not this one. Answers as [`note`].
#[inline(always)]
pub(crate) fn note_of_stub(bytes: Bytes, entry: &mut ProgramEntry) -> bool {
    if is_of_stub(bytes) {
        entry.stubbed = false;
        note(bytes, entry)
    } else {
        true
    }
}

/// Where the descriptor is in a note of ours.
const DESCRIPTOR: usize = size_of::<OurNote>().wrapping_sub(4);

const DOUBTFUL: ProgramEntry = ProgramEntry::at(0);

impl ProgramEntry {
    /// The kernel's way of entering a program, for one without a note that says otherwise.
    pub(crate) const fn at(address: usize) -> Self {
        Self { address, called: false, noted: false, stubbed: false, marked: false }
    }
}

/// Decides whether the start is plain. `own_entry` is the entry of this loader as a program.
///
/// # Safety
/// `sp` is the stack pointer that the kernel set.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_start(sp: usize, own_entry: usize) -> PlainStart {
    let mut values = Values::new();
    // SAFETY: by the caller.
    let Some(auxv) = unsafe { RawBlock::at(sp) }.walk(&mut values) else { return NOT_PLAIN };
    let (phdrs, count) = (values.get(AT_PHDR), values.get(AT_PHNUM));
    let (base, entry) = (values.get(AT_BASE), values.get(AT_ENTRY));
    // Executed directly, the loader is its own program: AT_BASE is 0, or the entry is ours.
    if values.get(AT_SECURE) != 0 || base == 0 || entry == own_entry {
        return NOT_PLAIN;
    }
    if values.get(AT_PHENT) != size_of::<Phdr>() || phdrs == 0 || count == 0 || entry == 0 {
        return NOT_PLAIN;
    }
    // SAFETY: the kernel's values.
    let entry = unsafe { slul_plain_program(phdrs, count, entry) };
    // Without an entry, the address of auxv is not returned either.
    PlainStart { entry: entry.address, auxv: if entry.called { auxv.address() } else { 0 } }
}

/// Examines the headers of a mapped program.
///
/// # Safety
/// There are `count` program headers at `phdrs`, by which the program is mapped; `entry` is where its `e_entry` is.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_program(phdrs: usize, count: usize, entry: usize) -> ProgramEntry {
    let mut answer = ProgramEntry::at(entry);
    // SAFETY: by the caller.
    let Some(program) = (unsafe { Program::new(phdrs, count, entry) }) else { return DOUBTFUL };
    let entry_vaddr = entry.wrapping_sub(program.bias());
    let mut file_end = 0usize;
    let mut entered = false;
    let mut headers = program.headers();
    while let Some(phdr) = headers.next() {
        // Read anew for each question, so that the compiler does not make a jump table of them.
        if phdr.kind() == consts::PT_LOAD {
            let size = phdr.filesz();
            if size != 0 {
                let offset = phdr.offset();
                // A segment far from the one before it may be beyond the end of the file.
                if offset.wrapping_sub(file_end) > FILE_GAP {
                    return DOUBTFUL;
                }
                file_end = offset.wrapping_add(size);
            }
            if phdr.flags() & consts::PF_X != 0 {
                let into = entry_vaddr.wrapping_sub(phdr.vaddr());
                entered |= into < size;
                if into < size && into >= STUB_NOTE && phdr.flags() & consts::PF_R != 0 {
                    // SAFETY: of the same segment, which can be read.
                    let before = unsafe { Bytes::new(entry.wrapping_sub(STUB_NOTE), STUB_NOTE) };
                    if !note_of_stub(before, &mut answer) {
                        return DOUBTFUL;
                    }
                }
            }
        }
        let kind = phdr.kind();
        if kind == consts::PT_TLS {
            return DOUBTFUL;
        } else if kind == consts::PT_DYNAMIC || kind == consts::PT_NOTE {
            let (vaddr, size) = (phdr.vaddr(), phdr.filesz());
            if size != phdr.memsz() {
                return DOUBTFUL;
            }
            if kind == consts::PT_DYNAMIC {
                let Some(bytes) = program.mapped(vaddr, size, consts::PF_R) else { return DOUBTFUL };
                if has_work(bytes, &mut answer) {
                    return DOUBTFUL;
                }
            } else {
                let Some(bytes) = program.noted(phdr) else { return DOUBTFUL };
                if !note(bytes, &mut answer) {
                    return DOUBTFUL;
                }
            }
        }
    }
    // Behind a stub, the program's own entry must be code, too.
    if answer.address != entry {
        let vaddr = answer.address.wrapping_sub(program.bias());
        entered &= program.mapped(vaddr, 1, consts::PF_X).is_some();
    }
    answer.called |= answer.marked & !answer.noted;
    if entered { answer } else { DOUBTFUL }
}
