//! The deferred start: a program that needs nothing but libc, and may never call it, is made ready and entered. The first
//! native call makes up for what was left out: the full start, and then libc.
//!
//! Here you have what `handed.rs` has. A native function's word gets the address of the first-call stub that the full start
//! would have chosen, RELRO is sealed, the program has its own copy of the block. The loader is not relocated, and nothing of
//! it is written: what its first-call stub finds of the start is what the kernel keeps, the auxiliary vector, and what is left
//! below the block ([`Left`], `late.rs`).
//!
//! Deferred is only what the full start would do in the same way, whenever it runs: all names in DT_NEEDED are a libc's, so
//! nothing is searched for; no library path depends on the current directory, of the variables that
//! libc reads when it starts there is none but LD_LIBRARY_PATH, which is kept; no initialisers, no thread-local storage,
//! no canary, nothing that libc has to fill in before the program begins; no import of the loader but memory functions.
//! Every table is where nothing can change it, and has been checked as the full start checks it, or more strictly. In
//! any doubt the answer is no, and nothing has changed.
//!
//! # Safety
//! This file exists because words of the program are written by address, when all of them have been found to be in
//! writable segments of it.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "words have one size here, and what checks that would be a call"
)]

use core::mem::{MaybeUninit, offset_of};

use linux_raw_sys::auxvec::{
    AT_BASE, AT_ENTRY, AT_EXECFN, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_RANDOM, AT_SECURE,
};
use linux_raw_sys::general::{__NR_mprotect, __NR_newfstatat, __NR_statx, AT_FDCWD, PROT_READ, stat, statx};
use rtld::elf::{Phdr, Rela, consts};

use crate::cpu::ops::{
    ABSOLUTE, GLOB_DAT, JUMP_SLOT, PAGE, RELATIVE, call, debugger_rendezvous, load, store, stub,
};
use crate::early::block::{RawBlock, Values};
use crate::early::numbers::{ImportNumbers, Meaning};
use crate::early::plain::{ProgramEntry, STUB_NOTE, is_of_stub, note, note_of_stub};
use crate::early::program::{Program, Purpose, SANE};
use crate::early::raw::{At, Records, RelrWords};
use crate::early::saved::slul_saved_block;
use crate::early::tables::Tables;
use crate::early::text::EarlyString;
use crate::platform::block::{BETWEEN, place_below};
use crate::platform::root::ASKED;
use crate::run::kept::Root;

/// Answer of [`slul_deferred_start`]. It ends where the kernel's block begins, and its last six words stay there, for the first
/// native call.
#[repr(C)]
pub(crate) struct Deferred {
    /// Where to go; 0 if the start can not be deferred.
    entry: usize,
    /// Address of the program's copy of the block, a multiple of 16; one more if the entry is a C function (`CALL_ENTRY`).
    stack: usize,
    /// Size of the block in bytes.
    size: usize,
    /// What follows the copy: the string of a variable, as the program may write over it. Its address, and size in bytes.
    text: usize,
    text_size: usize,
    reserved: usize,
    /// What stays.
    left: Left,
}

/// What a deferred start leaves right below the kernel's block.
#[repr(C)]
pub(crate) struct Left {
    /// Place of that variable in envp, from 1 on; 0 if there is none.
    pub(crate) number: usize,
    /// The root directory.
    pub(crate) root: Root,
    /// The id of the process, which tells it from a child.
    pub(crate) id: usize,
    /// Address of the program's copy of the block.
    pub(crate) copy: usize,
}

const _: () = assert!(size_of::<Left>() == BETWEEN && size_of::<Deferred>().is_multiple_of(16));

impl Deferred {
    /// Writes a word of the answer at an address.
    #[inline(always)]
    fn set(answer: usize, offset: usize, value: usize) {
        put(answer.wrapping_add(offset), value);
    }
}

/// A word of the program, or of an answer.
#[inline(always)]
fn word(place: usize) -> usize {
    // SAFETY: what is read here is a word of the program (`is_target`), or of what the kernel has filled.
    unsafe { load(place) }
}

/// Writes such a word.
#[inline(always)]
fn put(place: usize, value: usize) {
    // SAFETY: a word of the program, which is writable (`is_target`), or of an answer.
    unsafe { store(place, value) };
}

/// Largest block in bytes that is copied without asking whether the stack can grow by so much: less than what this start
/// takes of the stack itself.
const MOST_COPIED: usize = 4 << 10;

// A word for a function gets the function's address alone; where it is the sum with an addend, addends must be looked at.
const _: () = assert!(!<rtld::machine::Native as rtld::machine::Machine>::SLOTS_HAVE_ADDENDS);

/// Most PT_LOADs, and most PT_NOTEs, that the full start looks at.
const MOST_SEGMENTS: usize = rtld::elf::plan::MAX_SEGMENTS;
const MOST_NOTES: usize = 8;

/// What the program headers say.
struct Shape {
    dynamic: At<Phdr>,
    /// RELRO in whole pages, from and to.
    relro: (usize, usize),
    entry: ProgramEntry,
}

/// Reads the program headers of a program whose `e_entry` is at `entry`.
#[inline(always)]
fn shape(program: &Program, entry: usize, path: EarlyString) -> Option<Shape> {
    let (mut segments, mut notes, mut pages_end, mut file_end) = (0usize, 0usize, 0usize, 0usize);
    let (mut dynamic, mut relro) = (None, None);
    let mut entered = ProgramEntry::at(entry);
    let mut headers = program.headers();
    while let Some(phdr) = headers.next() {
        // Read anew for each question, so that the compiler does not make a jump table of them.
        if phdr.kind() == consts::PT_LOAD {
            let (vaddr, offset) = (phdr.vaddr(), phdr.offset());
            let (filesz, memsz, align) = (phdr.filesz(), phdr.memsz(), phdr.align());
            let sane = vaddr < SANE && offset < SANE && memsz < SANE && memsz != 0 && filesz <= memsz;
            let aligned = align & align.wrapping_sub(1) == 0 && (vaddr ^ offset) & (PAGE - 1) == 0;
            let start = vaddr & !(PAGE - 1);
            if !sane || !aligned || start < pages_end {
                return None;
            }
            pages_end = vaddr.wrapping_add(memsz).wrapping_add(PAGE - 1) & !(PAGE - 1);
            segments = segments.wrapping_add(1);
            let end = if filesz == 0 { 0 } else { offset.wrapping_add(filesz) };
            file_end = if end > file_end { end } else { file_end };
        }
        if phdr.kind() == consts::PT_TLS {
            return None;
        }
        if phdr.kind() == consts::PT_DYNAMIC {
            if dynamic.is_some() {
                return None;
            }
            dynamic = Some(phdr);
        }
        if phdr.kind() == consts::PT_GNU_RELRO {
            if relro.is_some() {
                return None;
            }
            relro = Some(phdr);
        }
    }
    // Nothing but the headers is read of a file that may end before what is mapped of it.
    if !has_file(path, file_end) {
        return None;
    }
    known!(see_stub(program, entry, &mut entered));
    let mut headers = program.headers();
    while let Some(phdr) = headers.next() {
        if phdr.kind() == consts::PT_NOTE {
            let bytes = known!(program.noted(phdr));
            notes = notes.wrapping_add(1);
            if !note(bytes, &mut entered) || phdr.memsz() != phdr.filesz() {
                return None;
            }
        }
    }
    // The table itself stays as it is.
    known!(program.constant(program.table(), program.table_size()));
    if entered.address != entry {
        known!(program.mapped(entered.address.wrapping_sub(program.bias()), 1, consts::PF_X));
    }
    if segments == 0 || segments > MOST_SEGMENTS || notes > MOST_NOTES {
        return None;
    }
    let relro = match relro {
        Some(phdr) => known!(relro_pages(program, phdr)),
        None => (0, 0),
    };
    Some(Shape { dynamic: known!(dynamic), relro, entry: entered })
}

/// Requires that there is code at `entry`, and looks at the stub's note before it.
#[inline(always)]
fn see_stub(program: &Program, entry: usize, entered: &mut ProgramEntry) -> Option<()> {
    let vaddr = entry.wrapping_sub(program.bias());
    let before = vaddr.wrapping_sub(STUB_NOTE);
    match program.mapped(before, STUB_NOTE + 1, consts::PF_R | consts::PF_X) {
        // The last byte is that of the entry.
        Some(bytes) if is_of_stub(bytes) => {
            known!(program.constant(before, STUB_NOTE));
            if !note_of_stub(bytes, entered) {
                return None;
            }
        }
        Some(_) => {}
        None => {
            known!(program.mapped(vaddr, 1, consts::PF_X));
        }
    }
    Some(())
}

/// The whole pages of PT_GNU_RELRO, which are in one writable segment.
#[inline(always)]
fn relro_pages(program: &Program, relro: At<Phdr>) -> Option<(usize, usize)> {
    let (vaddr, size) = (relro.vaddr(), relro.memsz());
    if vaddr >= SANE || size >= SANE {
        return None;
    }
    let (start, end) = (vaddr & !(PAGE - 1), vaddr.wrapping_add(size) & !(PAGE - 1));
    if start >= end {
        return Some((0, 0));
    }
    let mut headers = program.headers();
    while let Some(phdr) = headers.next() {
        let first = phdr.vaddr() & !(PAGE - 1);
        let last = phdr.vaddr().wrapping_add(phdr.memsz()).wrapping_add(PAGE - 1) & !(PAGE - 1);
        let writable = phdr.kind() == consts::PT_LOAD && phdr.flags() & consts::PF_W != 0;
        if writable && first <= start && end <= last {
            return Some((start, end));
        }
    }
    None
}

/// What the kernel answers, if a system call succeeds.
struct Answer<T>(MaybeUninit<T>);

impl<T> Answer<T> {
    /// Asks for it. `arguments` makes the system call's of the address of the answer.
    #[inline(always)]
    fn ask(&mut self, number: u32, arguments: impl Fn(usize) -> [usize; 6]) -> bool {
        // SAFETY: callers ask for a `T`, of what is there.
        unsafe { call(number, arguments((&raw mut self.0) as usize)) == 0 }
    }

    /// The word at an offset in it.
    #[inline(always)]
    fn word(&self, offset: usize) -> usize {
        word(((&raw const self.0) as usize).wrapping_add(offset))
    }
}

/// Whether the file of that path has as many bytes. (If it is another by now, the full start finds that out.)
#[inline(always)]
fn has_file(path: EarlyString, size: usize) -> bool {
    let mut answer = Answer(MaybeUninit::<stat>::uninit());
    let found = answer.ask(__NR_newfstatat, |place| [AT_FDCWD as usize, path.address(), place, 0, 0, 0]);
    found && answer.word(offset_of!(stat, st_size)) >= size
}

static ROOT_DIRECTORY: [u8; 2] = *b"/\0";

/// Keeps the root directory, which libc is to be found in.
#[inline(always)]
fn keep_root(answer: usize) -> bool {
    let mut root = Answer(MaybeUninit::<statx>::uninit());
    let path = (&raw const ROOT_DIRECTORY) as usize;
    if !root.ask(__NR_statx, |place| [AT_FDCWD as usize, path, 0, ASKED as usize, place, 0]) {
        return false;
    }
    Deferred::set(answer, offset_of!(Deferred, left.root.inode), root.word(offset_of!(statx, stx_ino)));
    Deferred::set(answer, offset_of!(Deferred, left.root.device), root.word(offset_of!(statx, stx_dev_major)));
    Deferred::set(answer, offset_of!(Deferred, left.root.mount), root.word(offset_of!(statx, stx_mnt_id)));
    true
}

/// What all words are about.
struct RelocatedWords<'t> {
    program: &'t Program,
    tables: &'t Tables,
    own_header: usize,
}

impl RelocatedWords<'_> {
    /// Whether a word may be written: it is in a writable segment, and not of what the full start reads again.
    #[inline(always)]
    fn is_target(&self, vaddr: usize) -> bool {
        const WORD: usize = size_of::<usize>();
        let (dynamic, size) = self.tables.dynamic;
        let apart = vaddr.wrapping_add(WORD) <= dynamic || dynamic.wrapping_add(size) <= vaddr;
        vaddr < SANE && apart && self.program.holds(vaddr, WORD, Purpose::Writable)
    }

    /// Whether all can be applied. Symbols get their numbers, in the order of first reference.
    #[inline(always)]
    fn check(&self, numbers: &mut ImportNumbers) -> bool {
        let mut relative = RelrWords::of(self.tables.relr);
        while let Some(vaddr) = relative.next() {
            if !self.is_target(vaddr) {
                return false;
            }
        }
        let mut tables = 0u32;
        while tables < 2 {
            let mut entries = self.table(tables);
            while let Some(entry) = entries.next() {
                let kind = entry.kind();
                if !self.is_target(entry.offset()) {
                    return false;
                }
                if kind == RELATIVE {
                    continue;
                }
                let called = kind == JUMP_SLOT;
                let known = called || kind == GLOB_DAT || kind == ABSOLUTE && entry.addend() == 0;
                if !known || !numbers.refer(self.program, self.tables, entry.symbol(), called) {
                    return false;
                }
            }
            tables = tables.wrapping_add(1);
        }
        true
    }

    /// DT_RELA, then DT_JMPREL: the order of the full start.
    #[inline(always)]
    fn table(&self, number: u32) -> Records<Rela> {
        if number == 0 { self.tables.rela.run() } else { self.tables.jmprel.run() }
    }

    /// Applies what was checked.
    #[inline(always)]
    fn apply(&self, numbers: &ImportNumbers) {
        let bias = self.program.bias();
        let mut relative = RelrWords::of(self.tables.relr);
        while let Some(vaddr) = relative.next() {
            let value = word(bias.wrapping_add(vaddr));
            self.write(vaddr, value.wrapping_add(bias));
        }
        let mut tables = 0u32;
        while tables < 2 {
            let mut entries = self.table(tables);
            while let Some(entry) = entries.next() {
                let value = if entry.kind() == RELATIVE {
                    bias.wrapping_add(entry.addend())
                } else {
                    match numbers.meaning(self.program, self.tables, entry.symbol()) {
                        Meaning::Native(number) => stub(number),
                        Meaning::Own(value) => self.own_header.wrapping_add(value),
                    }
                };
                self.write(entry.offset(), value);
            }
            tables = tables.wrapping_add(1);
        }
    }

    #[inline(always)]
    fn write(&self, vaddr: usize, value: usize) {
        put(self.program.bias().wrapping_add(vaddr), value);
    }
}

/// Makes a program ready whose full start can wait. `own_entry` is where this loader is entered as a program, and
/// `own_header` its ELF header.
///
/// # Safety
/// `sp` is the stack pointer as the kernel left it, and right below it is `answer`, a [`Deferred`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_deferred_start(
    answer: usize,
    sp: usize,
    own_entry: usize,
    own_header: usize,
) {
    Deferred::set(answer, offset_of!(Deferred, entry), 0);
    Deferred::set(answer, offset_of!(Deferred, stack), 0);
    // SAFETY: by the caller.
    let _ = defer(answer, unsafe { RawBlock::at(sp) }, own_entry, own_header);
}

#[inline(always)]
fn defer(answer: usize, block: RawBlock, own_entry: usize, own_header: usize) -> Option<()> {
    let mut values = Values::new();
    let auxv = known!(block.walk(&mut values));
    let entry = values.get(AT_ENTRY);
    let usual = values.get(AT_PHENT) == size_of::<Phdr>() && values.get(AT_PAGESZ) == PAGE;
    if values.get(AT_SECURE) != 0 || values.get(AT_BASE) != own_header || entry == own_entry || !usual {
        return None;
    }
    let (phdrs, count) = (values.get(AT_PHDR), values.get(AT_PHNUM));
    if phdrs == 0 || count == 0 || entry == 0 || auxv.find(AT_RANDOM) == 0 {
        return None;
    }
    let variable = known!(block.variable_of_start());
    let path = known!(auxv.text(AT_EXECFN));
    // SAFETY: the kernel's values.
    let program = known!(unsafe { Program::new(phdrs, count, entry) });
    let shape = known!(shape(&program, entry, path));
    let tables = known!(Tables::read(&program, shape.dynamic));
    let words = RelocatedWords { program: &program, tables: &tables, own_header };
    let mut numbers = ImportNumbers::new();
    if !words.check(&mut numbers) {
        return None;
    }
    // Whether the first native call will find what is found here, too.
    if slul_saved_block() != block.address() {
        return None;
    }
    let size = auxv.end().wrapping_sub(block.address());
    if size.wrapping_add(variable.size) > MOST_COPIED || !keep_root(answer) {
        return None;
    }
    // `slul_enter_deferred` copies the block, once this stack is not needed any more.
    let copy = place_below(block.address(), size.wrapping_add(variable.size));
    // From here on nothing is refused any more.
    words.apply(&numbers);
    if tables.debug != 0 {
        words.write(tables.debug, debugger_rendezvous());
    }
    let (start, end) = shape.relro;
    // What is not relocated is not the loader's to seal.
    if start != end && tables.rela.size() | tables.jmprel.size() | tables.relr.size() != 0 {
        let (place, size) = (program.bias().wrapping_add(start), end.wrapping_sub(start));
        // SAFETY: pages of the program, all of whose words have been written.
        let result = unsafe { call(__NR_mprotect, [place, size, PROT_READ as usize, 0, 0, 0]) };
        if result != 0 {
            Deferred::set(answer, offset_of!(Deferred, stack), copy);
            return None;
        }
    }
    let called = shape.entry.called | tables.marked & !shape.entry.noted;
    Deferred::set(answer, offset_of!(Deferred, entry), shape.entry.address);
    Deferred::set(answer, offset_of!(Deferred, stack), copy | usize::from(called));
    Deferred::set(answer, offset_of!(Deferred, size), size);
    Deferred::set(answer, offset_of!(Deferred, text), variable.address);
    Deferred::set(answer, offset_of!(Deferred, text_size), variable.size);
    Deferred::set(answer, offset_of!(Deferred, left.number), variable.number);
    Some(())
}
