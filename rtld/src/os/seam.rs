//! What the loader asks of the outside: files, address space, and the memory of an object.
//!
//! Three traits, so that the same [`crate::link::load`] runs in a starting process, on the host over byte vectors,
//! and under a fuzzer. Implementors decide nothing: they perform what a plan says and report how it went.
#![forbid(unsafe_code)]

use crate::base::addr::{FileOffset, LoadBias, PageRange, Vaddr, from_usize};
use crate::elf::Decode;
use crate::elf::plan::{LoadPlan, Protection, Segment};
use crate::error::{Errno, OpenError};
use crate::machine::Machine;

/// What tells two files apart, and how long a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
}

impl FileInfo {
    /// Whether both are one file, whatever its names.
    #[must_use]
    pub const fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }
}

/// Files by path.
pub trait Files {
    /// An open file; closed when dropped.
    type File;

    /// Opens a regular file for reading; anything else is an error, and nothing blocks.
    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError>;

    /// Reads at `offset` until `buffer` is full or the file ends; answers how many bytes were read.
    fn read_at(&self, file: &Self::File, offset: FileOffset, buffer: &mut [u8]) -> Result<usize, Errno>;
}

/// Mapping files into memory. Every call but `reserve` stays within what `reserve` gave.
pub trait AddressSpace: Files {
    /// The memory of one object.
    type Image: ImageMut;

    /// Reserves the plan's whole span. Where no segment is, it is inaccessible once all segments are mapped.
    fn reserve(&self, plan: &LoadPlan, file: &Self::File) -> Result<Self::Image, Errno>;

    /// Maps one segment: the pages of the file, the zeroed rest of its last page, and pages of zeros.
    fn map_segment(&self, image: &mut Self::Image, file: &Self::File, segment: &Segment) -> Result<(), Errno>;

    /// Gives the object's memory back. The image holds nothing from then on.
    fn unmap(&self, image: &mut Self::Image);

    /// Changes the protection of pages of the object.
    fn protect(&self, image: &Self::Image, range: PageRange, protection: Protection) -> Result<(), Errno>;
}

/// Reading an object's memory by the object's own addresses.
pub trait Image {
    /// The machine that the object is for. Of what is mapped in this process it is the one that the process runs on.
    type Machine: Machine;

    /// What is mapped where, and what is where in it.
    fn plan(&self) -> &LoadPlan;

    /// Run-time address minus link-time address.
    fn bias(&self) -> LoadBias;

    /// The `len` bytes at `vaddr`, if a readable segment holds all of them.
    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]>;

    /// How many bytes from `vaddr` to the end of the readable segment that holds it.
    fn readable(&self, vaddr: Vaddr) -> u64;

    /// How many bytes from `vaddr` to the end of what the file gives to the readable segment that holds it. Tables are
    /// there: nobody writes zeros that the kernel makes as well.
    fn file_backed(&self, vaddr: Vaddr) -> u64;

    /// The structure at `vaddr`.
    #[inline]
    fn get<T: Decode>(&self, vaddr: Vaddr) -> Option<T> {
        self.bytes(vaddr, from_usize(T::SIZE)).map(T::decode)
    }

    /// The bytes of the string at `vaddr`, of at most `limit` bytes, without its NUL.
    fn c_string(&self, vaddr: Vaddr, limit: u64) -> Option<&[u8]> {
        let bytes = self.bytes(vaddr, limit.min(self.readable(vaddr)))?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        bytes.get(..end)
    }
}

/// Writing an object's memory.
pub trait ImageMut: Image {
    /// Stores bytes, if a writable segment holds all of them.
    fn write(&mut self, vaddr: Vaddr, bytes: &[u8]) -> Option<()>;

    /// Stores a word of eight bytes, if a writable segment holds all of it.
    #[inline]
    fn write_word(&mut self, vaddr: Vaddr, value: u64) -> Option<()> {
        self.write(vaddr, &value.to_le_bytes())
    }
}
