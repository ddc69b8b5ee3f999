//! The loader's view of the outside: files, address space, and the memory of an object.
//!
//! Three traits, so that the same [`crate::link::load`] runs in a starting process, on the host over byte vectors, and
//! under a fuzzer. Implementors decide nothing: they perform a plan and report the result.
#![forbid(unsafe_code)]

use core::ffi::CStr;
use core::mem::MaybeUninit;

use crate::base::addr::{FileOffset, LoadBias, PageRange, Vaddr, from_usize};
use crate::elf::Decode;
use crate::elf::plan::{LoadPlan, Protection, Segment};
use crate::error::{Errno, OpenError};
use crate::machine::Machine;

/// Identity and size of a file.
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
    /// Whether both are the same file, whatever its names.
    #[must_use]
    pub const fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }
}

/// Files by path.
pub trait Files {
    /// An open file; closed when dropped.
    type File;

    /// Opens a regular file for reading, without blocking.
    ///
    /// # Errors
    /// open(2) or fstat(2) fails, or the path leads to something other than a regular file.
    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError>;

    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes that were read.
    ///
    /// # Errors
    /// The error number of pread(2), except EINTR.
    fn read_at<'b>(
        &self,
        file: &Self::File,
        offset: FileOffset,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b mut [u8], Errno>;
}

/// Mapping files into memory. Every call but `reserve` stays within the memory that `reserve` returned.
pub trait AddressSpace: Files {
    /// The memory of one object.
    type Image: ImageMut + 'static;

    /// Reserves the plan's whole span. Pages without a segment are inaccessible once all segments are mapped. The image
    /// keeps the plan, and modules live as long as the process: so the plan does, too.
    ///
    /// # Errors
    /// The error number of mmap(2); EEXIST if a fixed object's addresses are taken.
    fn reserve(&self, plan: &LoadPlan<'static>, file: &Self::File) -> Result<Self::Image, Errno>;

    /// Maps one segment: its pages from the file, the rest of the last of them set to zero, then pages of zeros.
    ///
    /// # Errors
    /// The error number of mmap(2).
    fn map_segment(&self, image: &mut Self::Image, file: &Self::File, segment: &Segment) -> Result<(), Errno>;

    /// Unmaps the object's memory. The image is empty from then on.
    fn unmap(&self, image: &mut Self::Image);

    /// Changes the protection of pages of the object.
    ///
    /// # Errors
    /// The error number of mprotect(2).
    fn protect(&self, image: &Self::Image, range: PageRange, protection: Protection) -> Result<(), Errno>;
}

/// Read access to an object's memory, by the object's own addresses.
pub trait Image {
    /// The machine that the object is for. For an object mapped in this process, it is the one that the process runs
    /// on.
    type Machine: Machine
    where
        Self: Sized;

    /// The plan by which the object is mapped.
    fn plan(&self) -> &LoadPlan<'_>;

    /// Run-time address minus link-time address.
    fn bias(&self) -> LoadBias;

    /// The `len` bytes at `vaddr`, if a readable segment holds all of them.
    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]>;

    /// Number of bytes from `vaddr` to the end of the readable segment that contains it; 0 if none does.
    fn readable(&self, vaddr: Vaddr) -> u64 {
        self.plan().readable(vaddr)
    }

    /// Number of bytes from `vaddr` to the end of the bytes from the file, in the readable segment that contains it; 0
    /// if none does. Tables lie in such bytes: no tool makes a table of the zeros that follow them.
    fn file_backed(&self, vaddr: Vaddr) -> u64 {
        self.plan().file_backed(vaddr)
    }

    /// Whether a readable segment holds all of the `len` bytes at `vaddr`.
    fn holds(&self, vaddr: Vaddr, len: u64) -> bool {
        self.bytes(vaddr, len).is_some()
    }

    /// The bytes of the string at `vaddr`, without its NUL, if that is among the `limit` bytes there and a readable
    /// segment holds all of these.
    fn string(&self, vaddr: Vaddr, limit: u64) -> Option<&[u8]> {
        let string = CStr::from_bytes_until_nul(self.bytes(vaddr, limit)?);
        string.ok().map(CStr::to_bytes)
    }

    /// The structure at `vaddr`; `None` if it is not all in a readable segment.
    #[inline]
    fn get<T: Decode>(&self, vaddr: Vaddr) -> Option<T>
    where
        Self: Sized,
    {
        self.bytes(vaddr, from_usize(T::SIZE)).map(T::decode)
    }

    /// The string at `vaddr`, without its NUL, if the NUL is among the first `limit` bytes.
    fn c_string(&self, vaddr: Vaddr, limit: u64) -> Option<&[u8]> {
        self.string(vaddr, limit.min(self.readable(vaddr)))
    }
}

/// Write access to an object's memory.
pub trait ImageMut: Image {
    /// Stores bytes, if a writable segment holds all of them.
    fn write(&mut self, vaddr: Vaddr, bytes: &[u8]) -> Option<()>;

    /// Stores a word of eight bytes, if a writable segment holds all of it.
    #[inline]
    fn write_word(&mut self, vaddr: Vaddr, value: u64) -> Option<()> {
        self.write(vaddr, &value.to_le_bytes())
    }
}
