//! What is in memory before the loader is relocated, by type: headers and tables of the program, the loader's own, strings.
//! The kernel's block is in `block.rs`, a mapped program in `program.rs`.
//!
//! A value of these types is a promise that its memory can be read; only making one is `unsafe`. Readers return values,
//! from the offsets of the C structures, and each of them is one instruction: no reference, no slice, no call into
//! another crate, which could use an address that is not relocated yet.
//!
//! # Safety
//! This file exists because headers and strings are at addresses that the kernel passes, or that are computed from
//! those. Each constructor states the promise of its caller; everything else rests on that, and on bounds that are
//! checked here.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::mem::offset_of;

use rtld::elf::{Dyn, Ehdr, Phdr, Rela};

use crate::cpu::ops::{Word, load};

/// A `T` that can be read, at any alignment.
pub(crate) struct At<T>(usize, PhantomData<T>);

impl<T> Clone for At<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for At<T> {}

impl<T> At<T> {
    /// The `T` at an address.
    ///
    /// # Safety
    /// It can be read there as long as the result is used.
    #[inline(always)]
    pub(crate) const unsafe fn new(address: usize) -> Self {
        Self(address, PhantomData)
    }

    /// Where it is.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.0
    }

    /// The field at `offset`.
    #[inline(always)]
    fn field<F: Word>(self, offset: usize) -> F {
        // SAFETY: within the `T`: callers pass the offset of one of its fields, of that type.
        unsafe { load(self.0.wrapping_add(offset)) }
    }
}

/// Readers of fields, by their names.
macro_rules! readers {
    ($($of:ty { $($field:ident: $type:ty as $as:ty = $name:ident),+ $(,)? })+) => {
        $(impl At<$of> {
            $(
                #[inline(always)]
                pub(crate) fn $name(self) -> $as {
                    // The field has that type.
                    const _: fn(&$of) -> $type = |whole| whole.$field;
                    self.field::<$as>(offset_of!($of, $field))
                }
            )+
        })+
    };
}

/// Head of a note (gABI, "Note Section"). Name and descriptor follow.
#[repr(C)]
pub(crate) struct NoteHead {
    n_namesz: u32,
    n_descsz: u32,
    n_type: u32,
}

/// A note whose name has five bytes, up to the first word of its descriptor.
#[repr(C)]
pub(crate) struct OurNote {
    head: NoteHead,
    owner: u32,
    nul: u8,
    padding: [u8; 3],
    first: u32,
}

/// A note as `NT_SLUL_ABI` has it (`abi::note::AbiNote`).
#[repr(C)]
pub(crate) struct OurAbiNote {
    head: OurNote,
    flags: u32,
    min_loader: u32,
}

readers! {
    Ehdr {
        e_type: u16 as u16 = kind,
        e_machine: u16 as u16 = machine,
        e_entry: u64 as usize = entry,
        e_phoff: u64 as usize = phoff,
        e_phentsize: u16 as u16 = phentsize,
        e_phnum: u16 as u16 = phnum,
    }
    Phdr {
        p_type: u32 as u32 = kind,
        p_flags: u32 as u32 = flags,
        p_offset: u64 as usize = offset,
        p_vaddr: u64 as usize = vaddr,
        p_filesz: u64 as usize = filesz,
        p_memsz: u64 as usize = memsz,
        p_align: u64 as usize = align,
    }
    Dyn { d_tag: u64 as usize = tag, d_val: u64 as usize = value }
    Rela { r_offset: u64 as usize = offset, r_info: u64 as u32 = kind, r_addend: i64 as usize = addend }
    NoteHead { n_namesz: u32 as u32 = name_size, n_descsz: u32 as u32 = desc_size, n_type: u32 as u32 = kind }
    OurNote { owner: u32 as u32 = owner, nul: u8 as u8 = nul, first: u32 as u32 = first }
    OurAbiNote { flags: u32 as u32 = flags, min_loader: u32 as u32 = min_loader }
}

impl At<usize> {
    /// The word.
    #[inline(always)]
    pub(crate) fn word(self) -> usize {
        self.field(0)
    }
}

impl At<Dyn> {
    /// The tag's lower half.
    #[inline(always)]
    pub(crate) fn low_tag(self) -> u32 {
        self.field(offset_of!(Dyn, d_tag))
    }
}

impl At<Ehdr> {
    /// The first four bytes of `e_ident`.
    #[inline(always)]
    pub(crate) fn magic(self) -> u32 {
        self.field(offset_of!(Ehdr, e_ident))
    }

    /// The first eight bytes of `e_ident`, without EI_ABIVERSION.
    #[inline(always)]
    pub(crate) fn ident(self) -> u64 {
        self.field::<u64>(offset_of!(Ehdr, e_ident)) & 0x00ff_ffff_ffff_ffff
    }
}

/// Values of `T`, one after the other.
pub(crate) struct Run<T> {
    next: usize,
    end: usize,
    kind: PhantomData<T>,
}

impl<T> Run<T> {
    /// `count` of them from an address on.
    ///
    /// # Safety
    /// All of them can be read as long as the result is used.
    #[inline(always)]
    pub(crate) const unsafe fn new(start: usize, count: usize) -> Self {
        let end = start.wrapping_add(count.wrapping_mul(size_of::<T>()));
        Self { next: start, end, kind: PhantomData }
    }

    /// The next value. `Run` is not an iterator, because adaptors would be calls into `core`.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<At<T>> {
        let address = self.next;
        if address == self.end {
            return None;
        }
        self.next = address.wrapping_add(size_of::<T>());
        Some(At(address, PhantomData))
    }

    /// The values that `next` has not returned yet.
    #[inline(always)]
    pub(crate) const fn rest(&self) -> Self {
        Self { next: self.next, end: self.end, kind: PhantomData }
    }
}

/// Bytes that can be read.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    start: usize,
    size: usize,
}

impl Bytes {
    /// So many bytes from an address on.
    ///
    /// # Safety
    /// All of them can be read as long as the result is used.
    #[inline(always)]
    pub(crate) const unsafe fn new(start: usize, size: usize) -> Self {
        Self { start, size }
    }

    /// The first bytes as a `T`, if there are as many.
    #[inline(always)]
    pub(crate) fn first<T>(self) -> Option<At<T>> {
        if size_of::<T>() <= self.size { Some(At(self.start, PhantomData)) } else { None }
    }

    /// The bytes as values of `T`, without a rest that is too short for one.
    #[inline(always)]
    pub(crate) fn run<T>(self) -> Run<T> {
        let size = match self.size.checked_rem(size_of::<T>()) {
            Some(rest) => self.size.wrapping_sub(rest),
            None => 0,
        };
        Run { next: self.start, end: self.start.wrapping_add(size), kind: PhantomData }
    }

    /// How many there are.
    #[inline(always)]
    pub(crate) const fn size(self) -> usize {
        self.size
    }

    /// The bytes after the first `count`; none if there are not more.
    #[inline(always)]
    pub(crate) fn skip(self, count: usize) -> Self {
        let count = if count < self.size { count } else { self.size };
        Self { start: self.start.wrapping_add(count), size: self.size.wrapping_sub(count) }
    }
}

/// A string that ends with NUL.
#[derive(Clone, Copy)]
pub(crate) struct Text(usize);

impl Text {
    /// The string at an address.
    ///
    /// # Safety
    /// It can be read, to its NUL, for as long as the answer is used.
    #[inline(always)]
    pub(crate) const unsafe fn new(address: usize) -> Self {
        Self(address)
    }

    #[inline(always)]
    fn byte(self) -> u8 {
        // SAFETY: what there is of the string, or its NUL.
        unsafe { load(self.0) }
    }

    /// Its first byte, and what follows it; `None` at its end.
    #[inline(always)]
    pub(crate) fn split(self) -> Option<(u8, Self)> {
        let byte = self.byte();
        if byte == 0 { None } else { Some((byte, Self(self.0.wrapping_add(1)))) }
    }

    /// Where it is.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.0
    }

    /// Its part behind the last slash.
    #[inline(always)]
    pub(crate) fn file_name(self) -> Self {
        let (mut rest, mut name) = (self, self);
        while let Some((byte, next)) = rest.split() {
            rest = next;
            if byte == b'/' {
                name = next;
            }
        }
        name
    }

    /// Whether it may be a variable that the loader acts on even where there is nothing to load: it begins with `LD_S`
    /// (`LD_SLUL_*`, `LD_SHOW_AUXV`) or `LD_T` (`LD_TRACE_LOADED_OBJECTS`).
    #[inline(always)]
    pub(crate) fn is_ours(self) -> bool {
        let mut wanted = u32::from_le_bytes(*b"LD_\0");
        let mut rest = self;
        while wanted != 0 {
            // None of them is NUL, so there is more of the string where they are equal.
            if rest.byte() as u32 != wanted & 0xff {
                return false;
            }
            rest = Self(rest.0.wrapping_add(1));
            wanted = wanted.wrapping_shr(8);
        }
        rest.byte() == b'S' || rest.byte() == b'T'
    }
}
