//! A machine on which one chosen call of the seam fails.

use std::cell::Cell;
use std::mem::MaybeUninit;

use rtld::base::addr::{FileOffset, PageRange};
use rtld::elf::plan::{LoadPlan, Protection, Segment};
use rtld::error::{Errno, OpenError};
use rtld::os::seam::{AddressSpace, FileInfo, Files};

use super::image::MemImage;
use super::os::MemOs;

/// Error number of the failing call: EIO, which never counts as the absence of a file.
pub const FAILURE: Errno = Errno(5);

/// The seam over [`MemOs`], with a count of its calls.
#[derive(Debug)]
pub struct Faulty {
    os: &'static MemOs,
    /// Number of calls that succeed before one fails; none fails without a number.
    left: Cell<Option<usize>>,
}

impl Faulty {
    /// A machine on which no call fails yet.
    #[must_use]
    pub const fn new(os: &'static MemOs) -> Self {
        Self { os, left: Cell::new(None) }
    }

    /// The machine.
    #[must_use]
    pub const fn os(&self) -> &'static MemOs {
        self.os
    }

    /// Lets the call after the next `count` fail, and no other.
    pub fn fail_after(&self, count: usize) {
        self.left.set(Some(count));
    }

    /// Lets no call fail from now on. Returns whether one has failed since the last time.
    pub fn repair(&self) -> bool {
        self.left.take().is_none()
    }

    fn check(&self) -> Result<(), Errno> {
        match self.left.get() {
            Some(0) => {
                self.left.set(None);
                Err(FAILURE)
            }
            left => {
                self.left.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

impl Files for Faulty {
    type File = <MemOs as Files>::File;

    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError> {
        self.check().map_err(OpenError::Errno)?;
        self.os.open(path)
    }

    fn read_at<'b>(
        &self,
        file: &Self::File,
        offset: FileOffset,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b mut [u8], Errno> {
        self.check()?;
        self.os.read_at(file, offset, buffer)
    }
}

impl AddressSpace for Faulty {
    type Image = MemImage;

    fn reserve(&self, plan: &LoadPlan<'static>, file: &Self::File) -> Result<MemImage, Errno> {
        self.check()?;
        self.os.reserve(plan, file)
    }

    fn map_segment(&self, image: &mut MemImage, file: &Self::File, segment: &Segment) -> Result<(), Errno> {
        self.check()?;
        self.os.map_segment(image, file, segment)
    }

    fn unmap(&self, image: &mut MemImage) {
        self.os.unmap(image);
    }

    fn protect(&self, image: &MemImage, range: PageRange, protection: Protection) -> Result<(), Errno> {
        self.check()?;
        self.os.protect(image, range, protection)
    }
}
