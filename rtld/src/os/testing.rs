//! Images for unit tests: a vector of bytes that starts at vaddr 0, and a copy of what was built in an arena.
//!
//! # Safety
//! This file exists because tests read tables back by their addresses. [`OneChunk`] copies memory that it
//! leaked itself, while nothing else uses it.
#![allow(unsafe_code)]

use std::boxed::Box;
use std::cell::Cell;
use std::vec::Vec;

use crate::base::addr::{LoadBias, RuntimeAddr, Vaddr, from_usize, to_usize};
use crate::base::arena::{Arena, Source};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::plan::{LoadPlan, Place};
use crate::elf::{consts, gnu_hash};
use crate::machine::X86_64;
use crate::os::seam::{Image, ImageMut};

/// A source whose memory is never given back.
pub(crate) fn leaking() -> Source {
    Source::keeping(|bytes| Some(Box::leak(std::vec![0u8; bytes].into_boxed_slice()).into()))
}

/// An image of a vector, all of it readable and writable.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) bytes: Vec<u8>,
}

impl Bytes {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

impl Image for Bytes {
    type Machine = X86_64;

    fn plan(&self) -> &LoadPlan<'_> {
        &LoadPlan::EMPTY
    }

    fn bias(&self) -> LoadBias {
        LoadBias(0x7000_0000)
    }

    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        let start = to_usize(vaddr.0);
        self.bytes.get(start..start.checked_add(to_usize(len))?)
    }

    fn readable(&self, vaddr: Vaddr) -> u64 {
        from_usize(self.bytes.len()).saturating_sub(vaddr.0)
    }

    fn file_backed(&self, vaddr: Vaddr) -> u64 {
        self.readable(vaddr)
    }
}

impl ImageMut for Bytes {
    fn write(&mut self, vaddr: Vaddr, bytes: &[u8]) -> Option<()> {
        let start = to_usize(vaddr.0);
        self.bytes.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        Some(())
    }
}

/// An image with a symbol table: name number `i` has the value `0x100 + i`.
pub(crate) struct Symbolic {
    pub(crate) image: Bytes,
    pub(crate) dynamic: DynamicInfo,
    pub(crate) hash_at: usize,
}

impl Symbolic {
    pub(crate) fn new(names: &[&str], gnu: bool) -> Self {
        let mut strings = std::vec![0u8];
        let mut symbols = std::vec![0u8; 24];
        for (index, name) in names.iter().enumerate() {
            symbols.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
            symbols.extend([0x12, 0, 1, 0]);
            symbols.extend((0x100 + index as u64).to_le_bytes());
            symbols.extend(0u64.to_le_bytes());
            strings.extend(name.as_bytes());
            strings.push(0);
        }
        let hash = if gnu { gnu_table(names) } else { sysv_table(names.len()) };
        let mut bytes = std::vec![0u8; 0x100];
        let mut place = |part: &[u8]| {
            let at = bytes.len().next_multiple_of(8);
            bytes.resize(at, 0);
            bytes.extend(part);
            at
        };
        let (symbols_at, hash_at) = (place(&symbols), place(&hash));
        let strings_at = place(&strings);
        let tag = if gnu { consts::DT_GNU_HASH } else { consts::DT_HASH };
        let entries = [
            (consts::DT_SYMTAB, symbols_at as u64),
            (consts::DT_STRTAB, strings_at as u64),
            (consts::DT_STRSZ, strings.len() as u64),
            (tag, hash_at as u64),
        ];
        for (index, (tag, value)) in entries.iter().enumerate() {
            bytes[index * 16..index * 16 + 8].copy_from_slice(&tag.to_le_bytes());
            bytes[index * 16 + 8..index * 16 + 16].copy_from_slice(&value.to_le_bytes());
        }
        let image = Bytes::new(bytes);
        let dynamic = DynamicInfo::decode(&image, Place { vaddr: Vaddr(0), size: 0x50 }).unwrap();
        Self { image, dynamic, hash_at }
    }
}

fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A DT_GNU_HASH of one bucket and one Bloom filter word that accepts every name.
fn gnu_table(names: &[&str]) -> Vec<u8> {
    let mut table = words([1, 1, 1, 6, u32::MAX, u32::MAX, 1]);
    let last = names.len() - 1;
    table.extend(words(names.iter().enumerate().map(|(index, name)| {
        let hash = gnu_hash(name.as_bytes());
        if index == last { hash | 1 } else { hash & !1 }
    })));
    table
}

/// A DT_HASH of one bucket whose chain goes through all symbols in order.
fn sysv_table(count: usize) -> Vec<u8> {
    let count = u32::try_from(count).unwrap();
    let mut table = words([1, count + 1, 1, 0]);
    table.extend(words((1..=count).map(|index| if index == count { 0 } else { index + 1 })));
    table
}

/// A copy of memory that is read by its original addresses.
pub(crate) struct Span {
    bytes: Vec<u8>,
    start: u64,
    bias: LoadBias,
}

impl Image for Span {
    type Machine = X86_64;

    fn plan(&self) -> &LoadPlan<'_> {
        &LoadPlan::EMPTY
    }

    fn bias(&self) -> LoadBias {
        self.bias
    }

    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        let start = to_usize(self.bias.runtime(vaddr).0.checked_sub(self.start)?);
        self.bytes.get(start..start.checked_add(to_usize(len))?)
    }

    fn readable(&self, vaddr: Vaddr) -> u64 {
        (self.start + from_usize(self.bytes.len())).saturating_sub(self.bias.runtime(vaddr).0)
    }

    fn file_backed(&self, vaddr: Vaddr) -> u64 {
        self.readable(vaddr)
    }
}

/// A source of one chunk, whose contents a test can read.
pub(crate) struct OneChunk;

const CHUNK: usize = 1 << 20;

std::thread_local! {
    static START: Cell<usize> = const { Cell::new(0) };
}

fn one_chunk(bytes: usize) -> Option<core::ptr::NonNull<[u8]>> {
    let fits = bytes <= CHUNK && START.get() == 0;
    fits.then(|| {
        let memory = Box::into_raw(std::vec![0u8; CHUNK].into_boxed_slice());
        START.set(memory.cast::<u8>().expose_provenance());
        core::ptr::NonNull::new(memory).unwrap()
    })
}

impl OneChunk {
    pub(crate) fn new() -> Self {
        START.set(0);
        Self
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        Box::leak(Box::new(Arena::new(Source::keeping(one_chunk))))
    }

    /// A copy of the arena's present contents.
    pub(crate) fn span(&self, bias: LoadBias) -> Span {
        let start: *const u8 = core::ptr::with_exposed_provenance(START.get());
        let mut bytes = std::vec![0u8; CHUNK];
        // SAFETY: `one_chunk` leaked CHUNK initialised bytes there; nothing writes them meanwhile.
        unsafe { start.copy_to_nonoverlapping(bytes.as_mut_ptr(), CHUNK) };
        Span { bytes, start: RuntimeAddr(from_usize(START.get())).0, bias }
    }
}
