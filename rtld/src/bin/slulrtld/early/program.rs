//! A program that is mapped, before the loader is relocated: its program headers, and what they are about.
//!
//! # Safety
//! This file exists because the program is read by address. Its headers say what is mapped; whoever makes a [`Program`]
//! promises that it is mapped by them.
#![allow(unsafe_code)]

use rtld::elf::{Ehdr, Phdr, consts};

use crate::early::raw::{At, Bytes, Records};

/// The end of addresses and sizes that are added up without overflow: that of user space.
pub(crate) const SANE: usize = 1 << 47;

/// What a place in a program is to be.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// From the file, and nobody can write there.
    Constant,
    /// In memory, to be read and written.
    Writable,
}

/// Program headers by which a program is mapped, and what they are about.
pub(crate) struct Program {
    phdrs: usize,
    count: usize,
    bias: usize,
}

impl Program {
    /// A program that is mapped. Its ELF header tells where, if it is where linkers put it: in the page of the program
    /// headers, and naming them. The kernel has computed AT_ENTRY of the same header. `None` where it is not.
    ///
    /// # Safety
    /// There are `count` program headers at `phdrs`, by which the program is mapped; `entry` is where its `e_entry` is.
    #[inline(always)]
    pub(crate) unsafe fn new(phdrs: usize, count: usize, entry: usize) -> Option<Self> {
        // The smallest page that there is: the header is in no other than the program headers.
        let before = phdrs & 0xfff;
        if before < size_of::<Ehdr>() {
            return None;
        }
        // SAFETY: the program headers begin in this page, behind at least the size of an ELF header.
        let header = unsafe { At::<Ehdr>::new(phdrs.wrapping_sub(before)) };
        if header.magic() != u32::from_ne_bytes(*b"\x7fELF") || header.phoff() != before {
            return None;
        }
        Some(Self { phdrs, count, bias: entry.wrapping_sub(header.entry()) })
    }

    /// Run-time address minus link-time address.
    #[inline(always)]
    pub(crate) const fn bias(&self) -> usize {
        self.bias
    }

    /// Its program headers.
    #[inline(always)]
    pub(crate) fn headers(&self) -> Records<Phdr> {
        // SAFETY: by `new`.
        unsafe { Records::new(self.phdrs, self.count) }
    }

    /// Where their table is.
    #[inline(always)]
    pub(crate) fn table(&self) -> usize {
        self.phdrs.wrapping_sub(self.bias)
    }

    /// The size of their table in bytes.
    #[inline(always)]
    pub(crate) fn table_size(&self) -> usize {
        self.count.wrapping_mul(size_of::<Phdr>())
    }

    /// Whether `[vaddr, vaddr + size)` is in one segment, and as `wanted`.
    #[inline(always)]
    pub(crate) fn holds(&self, vaddr: usize, size: usize, wanted: Purpose) -> bool {
        slul_early_segment(self, vaddr, size, wanted)
    }

    /// `[vaddr, vaddr + size)`, if that is from the file, and stays as it is.
    #[inline(always)]
    pub(crate) fn constant(&self, vaddr: usize, size: usize) -> Option<Bytes> {
        // SAFETY: mapped from the file, to be read.
        let bytes = unsafe { Bytes::new(self.bias.wrapping_add(vaddr), size) };
        if self.holds(vaddr, size, Purpose::Constant) { Some(bytes) } else { None }
    }

    /// `[vaddr, vaddr + size)`, if that is in what was mapped from the file with the permissions `flags`; with PF_R it can be
    /// read.
    #[inline(always)]
    pub(crate) fn mapped(&self, vaddr: usize, size: usize, flags: u32) -> Option<Bytes> {
        self.find(vaddr, size, |phdr, _| phdr.flags() & flags == flags)
    }

    /// The contents of a PT_NOTE, if nobody can write there, and both its address and its offset in the file say where it is.
    #[inline(always)]
    pub(crate) fn noted(&self, note: At<Phdr>) -> Option<Bytes> {
        let offset = note.offset();
        self.find(note.vaddr(), note.filesz(), |phdr, into| {
            let protection = phdr.flags() & (consts::PF_R | consts::PF_W);
            protection == consts::PF_R && offset.wrapping_sub(phdr.offset()) == into
        })
    }

    /// `[vaddr, vaddr + size)`, if that is in the file's part of a segment, the `wanted` one, which is told how far into it.
    #[inline(always)]
    fn find(&self, vaddr: usize, size: usize, wanted: impl Fn(At<Phdr>, usize) -> bool) -> Option<Bytes> {
        let mut headers = self.headers();
        while let Some(phdr) = headers.next() {
            if phdr.kind() != consts::PT_LOAD {
                continue;
            }
            let (into, len) = (vaddr.wrapping_sub(phdr.vaddr()), phdr.filesz());
            if into <= len && size <= len.wrapping_sub(into) && wanted(phdr, into) {
                // SAFETY: mapped by that header.
                return Some(unsafe { Bytes::new(self.bias.wrapping_add(vaddr), size) });
            }
        }
        None
    }
}

/// [`Program::holds`], once: it is asked for each word that is relocated.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_early_segment(program: &Program, vaddr: usize, size: usize, wanted: Purpose) -> bool {
    let mut headers = program.headers();
    while let Some(phdr) = headers.next() {
        if phdr.kind() != consts::PT_LOAD {
            continue;
        }
        let protection = phdr.flags() & (consts::PF_R | consts::PF_W);
        let constant = wanted == Purpose::Constant;
        let fits = if constant { consts::PF_R } else { consts::PF_R | consts::PF_W };
        let (start, len) = (phdr.vaddr(), if constant { phdr.filesz() } else { phdr.memsz() });
        let into = vaddr.wrapping_sub(start);
        if protection == fits && into <= len && size <= len.wrapping_sub(into) {
            return true;
        }
    }
    false
}
