//! The loader's seam over byte vectors.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::rc::Rc;

use rtld::base::addr::{FileOffset, LoadBias, PageRange, to_usize};
use rtld::base::arena::Arena;
use rtld::elf::plan::{LoadPlan, Protection, Segment};
use rtld::error::{Errno, OpenError};
use rtld::machine::{Machine, X86_64};
use rtld::os::seam::{AddressSpace, FileInfo, Files};

use super::image::MemImage;

/// Largest object in bytes by default; a larger one does not fit in memory.
pub const MEMORY: u64 = 64 << 20;

/// Address of the first object.
const FIRST: u64 = 0x7e00_0000_0000;

/// Distance of objects in bytes, whatever their size: biases are far apart and easily told. No object's alignment is
/// larger.
pub const ROOM: u64 = 0x1_0000_0000;

/// ENOTDIR.
const ENOTDIR: Errno = Errno(20);

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

/// The target of a path.
#[derive(Clone, Debug)]
enum Entry {
    File { bytes: Rc<[u8]>, ino: u64 },
    Directory,
}

/// An absolute path with `.` and `..` resolved.
fn plain(path: &str) -> Vec<u8> {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.iter().flat_map(|name| ["/", name]).collect::<String>().into_bytes()
}

/// A system of files and memory, for objects of machine `M`.
#[derive(Debug)]
pub struct MemOs<M = X86_64> {
    machine: PhantomData<M>,
    entries: BTreeMap<Vec<u8>, Entry>,
    files: u64,
    opened: RefCell<Vec<String>>,
    objects: Cell<usize>,
    arena: &'static Arena,
    alive: &'static Cell<usize>,
    failing: Option<(Call, String, Errno)>,
    /// Largest object in bytes.
    pub largest: u64,
    /// Load biases of the first objects, in the order of reservation; further objects get the next free address.
    pub biases: Vec<LoadBias>,
}

impl Default for MemOs {
    fn default() -> Self {
        Self::new(super::arena::arena())
    }
}

impl MemOs {
    /// An empty system with memory from the arena.
    #[must_use]
    pub fn new(arena: &'static Arena) -> Self {
        Self::of_machine(arena)
    }
}

impl<M: Machine> MemOs<M> {
    /// An empty system on any machine.
    #[must_use]
    pub fn of_machine(arena: &'static Arena) -> Self {
        Self {
            machine: PhantomData,
            entries: BTreeMap::new(),
            files: 0,
            opened: RefCell::default(),
            objects: Cell::default(),
            arena,
            alive: arena.put(Cell::new(0)).unwrap_or_else(|_| Box::leak(Box::default())),
            failing: None,
            largest: MEMORY,
            biases: Vec::new(),
        }
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, bytes: &[u8]) {
        self.files += 1;
        self.entries.insert(plain(path), Entry::File { bytes: bytes.into(), ino: self.files });
    }

    /// Adds a second name of a file.
    pub fn link(&mut self, path: &str, existing: &str) {
        if let Some(entry) = self.entries.get(&plain(existing)).cloned() {
            self.entries.insert(plain(path), entry);
        }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.entries.insert(plain(path), Entry::Directory);
    }

    /// Makes calls of this kind fail for the file that was opened by `path`.
    pub fn fail(&mut self, call: Call, path: &str, errno: Errno) {
        self.failing = Some((call, path.to_owned(), errno));
    }

    /// The paths given to [`Files::open`], in order.
    #[must_use]
    pub fn opened(&self) -> Vec<String> {
        self.opened.borrow().clone()
    }

    /// Number of objects that were mapped so far.
    #[must_use]
    pub const fn reserved(&self) -> usize {
        self.objects.get()
    }

    /// Number of objects that are mapped now.
    #[must_use]
    pub fn mapped(&self) -> usize {
        self.alive.get()
    }

    /// The kernel's resolution of a path, relative to the root directory: the key of its target.
    fn walk(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        const NAME_MAX: usize = 255;
        const PATH_MAX: usize = 4096;
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut at = Vec::new();
        for name in path.strip_prefix(b"/").unwrap_or(path).split(|&byte| byte == b'/') {
            if !self.is_directory(&at) {
                return Err(ENOTDIR);
            }
            match name {
                b"" | b"." => continue,
                b".." => at.truncate(at.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
                name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                name => {
                    at.push(b'/');
                    at.extend(name);
                }
            }
            if !self.is_directory(&at) && !self.entries.contains_key(&at) {
                return Err(Errno::ENOENT);
            }
        }
        Ok(at)
    }

    /// Whether a path is a directory: added as one, or with entries below it.
    fn is_directory(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        let first = self.entries.range(below.clone()..).next();
        matches!(self.entries.get(path), Some(Entry::Directory))
            || first.is_some_and(|(name, _)| name.starts_with(&below))
    }

    /// The error of a call, if it is to fail. The loader reads and maps a file before it opens the next one, so the
    /// call is about the last opened one.
    fn check(&self, call: Call) -> Result<(), Errno> {
        match &self.failing {
            Some((failing, path, errno)) if *failing == call && self.opened.borrow().last() == Some(path) => {
                Err(*errno)
            }
            _ => Ok(()),
        }
    }
}

impl<M: Machine> Files for MemOs<M> {
    type File = Rc<[u8]>;

    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError> {
        self.opened.borrow_mut().push(String::from_utf8_lossy(path).into_owned());
        self.check(Call::Open).map_err(OpenError::Errno)?;
        let found = self.walk(path).map_err(OpenError::Errno)?;
        match self.entries.get(&found) {
            Some(Entry::File { bytes, ino }) => {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok((Rc::clone(bytes), FileInfo { dev: 1, ino: *ino, size }))
            }
            // A path with entries below it.
            Some(Entry::Directory) | None => Err(OpenError::NotRegular),
        }
    }

    fn read_at<'b>(
        &self,
        file: &Self::File,
        offset: FileOffset,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b mut [u8], Errno> {
        self.check(Call::Read)?;
        let rest = file.get(to_usize(offset.0)..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        let (place, bytes) = (buffer.get_mut(..size).unwrap_or_default(), rest.get(..size).unwrap_or_default());
        Ok(place.write_copy_of_slice(bytes))
    }
}

impl<M: Machine> AddressSpace for MemOs<M> {
    type Image = MemImage<M>;

    fn reserve(&self, plan: &LoadPlan<'static>, _file: &Self::File) -> Result<MemImage<M>, Errno> {
        self.check(Call::Reserve)?;
        if plan.span.len() > self.largest || plan.align > ROOM {
            return Err(Errno::ENOMEM);
        }
        assert!(plan.align.is_power_of_two(), "alignment {:#x}", plan.align);
        let number = self.objects.get();
        self.objects.set(number + 1);
        // Both are multiples of any permitted alignment, and so is the bias.
        let next = u64::try_from(number).map_err(|_| Errno::ENOMEM)?;
        let free = if plan.fixed { 0 } else { FIRST + next * ROOM };
        let bias = self.biases.get(number).copied().unwrap_or(LoadBias(free));
        MemImage::reserve(plan, bias, self.arena, self.alive).map_err(|_| Errno::ENOMEM)
    }

    fn map_segment(&self, image: &mut MemImage<M>, file: &Self::File, segment: &Segment) -> Result<(), Errno> {
        self.check(Call::Map)?;
        image.map(file, segment);
        Ok(())
    }

    fn unmap(&self, image: &mut MemImage<M>) {
        image.unmap();
    }

    fn protect(&self, image: &MemImage<M>, range: PageRange, protection: Protection) -> Result<(), Errno> {
        self.check(Call::Protect)?;
        image.set_protection(range, protection);
        Ok(())
    }
}
