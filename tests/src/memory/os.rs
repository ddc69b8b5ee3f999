//! The loader's seam over byte vectors.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rtld::addr::{FileOffset, LoadBias, PageRange, to_usize};
use rtld::error::{Errno, OpenError};
use rtld::plan::{LoadPlan, Protection, Segment};
use rtld::seam::{AddressSpace, FileInfo, Files};

use super::image::MemImage;

/// Largest object in bytes; a larger one does not fit in memory.
const MEMORY: u64 = 64 << 20;

/// Where the first object goes.
const FIRST: u64 = 0x7e00_0000_0000;

/// Room for each object, whatever its size: biases are far apart and easily told.
const ROOM: u64 = 0x1_0000_0000;

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Files::open`].
    Open,
    /// [`Files::read_at`].
    Read,
    /// [`AddressSpace::reserve`].
    Reserve,
    /// [`AddressSpace::map_segment`].
    Map,
    /// [`AddressSpace::protect`].
    Protect,
}

/// What a path leads to.
#[derive(Clone, Debug)]
enum Entry {
    File { bytes: Rc<[u8]>, ino: u64 },
    Directory,
}

/// A machine with nothing but files and memory.
#[derive(Debug, Default)]
pub struct MemOs {
    entries: BTreeMap<Vec<u8>, Entry>,
    files: u64,
    opened: RefCell<Vec<String>>,
    objects: Cell<u64>,
    alive: Rc<()>,
    failing: Option<(Call, String, Errno)>,
}

impl MemOs {
    /// Adds a file.
    pub fn file(&mut self, path: &str, bytes: &[u8]) {
        self.files += 1;
        self.entries.insert(path.into(), Entry::File { bytes: bytes.into(), ino: self.files });
    }

    /// Adds a second name of a file.
    pub fn link(&mut self, path: &str, existing: &str) {
        if let Some(entry) = self.entries.get(existing.as_bytes()).cloned() {
            self.entries.insert(path.into(), entry);
        }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.entries.insert(path.into(), Entry::Directory);
    }

    /// Makes such calls fail for the file that was opened by `path`.
    pub fn fail(&mut self, call: Call, path: &str, errno: Errno) {
        self.failing = Some((call, path.to_owned(), errno));
    }

    /// The paths that were tried, in order.
    #[must_use]
    pub fn opened(&self) -> Vec<String> {
        self.opened.borrow().clone()
    }

    /// How many objects are mapped now.
    #[must_use]
    pub fn mapped(&self) -> usize {
        Rc::strong_count(&self.alive) - 1
    }

    /// Files are read and mapped before the next is opened, so the last one is meant.
    fn check(&self, call: Call) -> Result<(), Errno> {
        match &self.failing {
            Some((failing, path, errno)) if *failing == call && self.opened.borrow().last() == Some(path) => {
                Err(*errno)
            }
            _ => Ok(()),
        }
    }
}

impl Files for MemOs {
    type File = Rc<[u8]>;

    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError> {
        self.opened.borrow_mut().push(String::from_utf8_lossy(path).into_owned());
        self.check(Call::Open).map_err(OpenError::Errno)?;
        match self.entries.get(path) {
            Some(Entry::File { bytes, ino }) => {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok((Rc::clone(bytes), FileInfo { dev: 1, ino: *ino, size }))
            }
            Some(Entry::Directory) => Err(OpenError::NotRegular),
            None => Err(OpenError::Errno(Errno::ENOENT)),
        }
    }

    fn read_at(&self, file: &Self::File, offset: FileOffset, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.check(Call::Read)?;
        let rest = file.get(to_usize(offset.0)..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        if let (Some(place), Some(bytes)) = (buffer.get_mut(..size), rest.get(..size)) {
            place.copy_from_slice(bytes);
        }
        Ok(size)
    }
}

impl AddressSpace for MemOs {
    type Image = MemImage;

    fn reserve(&self, plan: &LoadPlan) -> Result<MemImage, Errno> {
        self.check(Call::Reserve)?;
        if plan.span.len() > MEMORY || plan.align > ROOM {
            return Err(Errno::ENOMEM);
        }
        assert!(plan.align.is_power_of_two(), "alignment {:#x}", plan.align);
        let number = self.objects.get();
        self.objects.set(number + 1);
        // Both are multiples of any alignment that is let through, and so is the bias.
        let bias = LoadBias(if plan.fixed { 0 } else { FIRST + number * ROOM });
        Ok(MemImage::reserve(plan, bias, Rc::clone(&self.alive)))
    }

    fn map_segment(&self, image: &mut MemImage, file: &Self::File, segment: &Segment) -> Result<(), Errno> {
        self.check(Call::Map)?;
        image.map(file, segment);
        Ok(())
    }

    fn unmap(&self, image: &mut MemImage) {
        image.unmap();
    }

    fn protect(&self, image: &MemImage, range: PageRange, protection: Protection) -> Result<(), Errno> {
        self.check(Call::Protect)?;
        image.set_protection(range, protection);
        Ok(())
    }
}
