//! What is in memory before the loader is relocated, by type: headers and tables of the program, and the loader's own.
//! The kernel's block is in `block.rs`, a mapped program in `program.rs`, strings in `text.rs`.
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

use rtld::elf::{Dyn, Ehdr, Phdr, Rela, Sym};

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

/// Head of DT_GNU_HASH.
#[repr(C)]
pub(crate) struct GnuHashHead {
    bucket_count: u32,
    first: u32,
    bloom_words: u32,
    bloom_shift: u32,
}

/// `Elf64_Verneed` (LSB, "Symbol Versioning").
#[repr(C)]
pub(crate) struct RawVerneed {
    vn_version: u16,
    vn_cnt: u16,
    vn_file: u32,
    vn_aux: u32,
    vn_next: u32,
}

/// `Elf64_Vernaux`.
#[repr(C)]
pub(crate) struct RawVernaux {
    vna_hash: u32,
    vna_flags: u16,
    vna_other: u16,
    vna_name: u32,
    vna_next: u32,
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
    GnuHashHead { bucket_count: u32 as u32 = bucket_count, first: u32 as u32 = first, bloom_words: u32 as u32 = bloom_words }
    Sym {
        st_name: u32 as u32 = name_offset,
        st_info: u8 as u8 = info,
        st_other: u8 as u8 = other,
        st_shndx: u16 as u16 = section,
        st_value: u64 as usize = value,
    }
    RawVerneed { vn_cnt: u16 as u16 = count, vn_file: u32 as u32 = file_offset, vn_aux: u32 as u32 = aux, vn_next: u32 as u32 = next }
    RawVernaux { vna_other: u16 as u16 = other, vna_name: u32 as u32 = name_offset, vna_next: u32 as u32 = next }
}

impl At<Rela> {
    /// The symbol that it refers to.
    #[inline(always)]
    pub(crate) fn symbol(self) -> u32 {
        // The upper half of `r_info`, whose lower one is the type.
        self.field(offset_of!(Rela, r_info).wrapping_add(4))
    }
}

impl At<u32> {
    /// The half of a word.
    #[inline(always)]
    pub(crate) fn half(self) -> u32 {
        self.field(0)
    }
}

impl At<u16> {
    /// The quarter of a word.
    #[inline(always)]
    pub(crate) fn short(self) -> u16 {
        self.field(0)
    }
}

impl At<u8> {
    /// The byte.
    #[inline(always)]
    pub(crate) fn byte(self) -> u8 {
        self.field(0)
    }
}

impl At<usize> {
    /// The word.
    #[inline(always)]
    pub(crate) fn word(self) -> usize {
        self.field(0)
    }
}

impl At<Dyn> {
    /// Where its value is.
    #[inline(always)]
    pub(crate) fn value_address(self) -> usize {
        self.address().wrapping_add(offset_of!(Dyn, d_val))
    }

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
pub(crate) struct Records<T> {
    next: usize,
    end: usize,
    kind: PhantomData<T>,
}

impl<T> Records<T> {
    /// `count` of them from an address on.
    ///
    /// # Safety
    /// All of them can be read as long as the result is used.
    #[inline(always)]
    pub(crate) const unsafe fn new(start: usize, count: usize) -> Self {
        let end = start.wrapping_add(count.wrapping_mul(size_of::<T>()));
        Self { next: start, end, kind: PhantomData }
    }

    /// The next value. `Records` is not an iterator, because adaptors would be calls into `core`.
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
#[repr(C)]
pub(crate) struct Bytes {
    start: usize,
    size: usize,
}

impl Bytes {
    /// None.
    pub(crate) const EMPTY: Self = Self { start: 0, size: 0 };

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
    pub(crate) fn run<T>(self) -> Records<T> {
        let size = match self.size.checked_rem(size_of::<T>()) {
            Some(rest) => self.size.wrapping_sub(rest),
            None => 0,
        };
        Records { next: self.start, end: self.start.wrapping_add(size), kind: PhantomData }
    }

    /// The last one.
    #[inline(always)]
    pub(crate) fn last(self) -> Option<u8> {
        match self.size.checked_sub(1) {
            Some(before) => Some(known!(self.skip(before).first::<u8>()).byte()),
            None => None,
        }
    }

    /// Where they begin.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.start
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

/// The words that a DT_RELR table relocates, by their addresses in the object (gABI): an even entry is the address of a word,
/// an odd one a bitmap of the words after it, one for each bit of a word but the lowest.
pub(crate) struct RelrWords {
    entries: Records<usize>,
    /// The first word of the bitmap at hand, or of the next one; what is left of it; the word of its lowest bit.
    after: usize,
    bits: usize,
    place: usize,
}

impl RelrWords {
    /// Those of a table.
    #[inline(always)]
    pub(crate) fn of(table: Bytes) -> Self {
        Self { entries: table.run(), after: 0, bits: 0, place: 0 }
    }

    /// The next one.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<usize> {
        const WORD: usize = size_of::<usize>();
        const BITMAP: usize = (usize::BITS as usize - 1) * WORD;
        loop {
            while self.bits != 0 {
                let (place, set) = (self.place, self.bits & 1 != 0);
                self.place = place.wrapping_add(WORD);
                self.bits = self.bits.wrapping_shr(1);
                if set {
                    return Some(place);
                }
            }
            let entry = known!(self.entries.next()).word();
            if entry & 1 == 0 {
                self.after = entry.wrapping_add(WORD);
                return Some(entry);
            }
            (self.place, self.bits) = (self.after, entry.wrapping_shr(1));
            self.after = self.after.wrapping_add(BITMAP);
        }
    }
}
