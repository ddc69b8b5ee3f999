//! What holds of every file: it is judged as if it had been mapped, whether it is or not.

use std::cell::Cell;
use std::mem::MaybeUninit;

use abi::libcs::Libc;
use abi::note::AbiNote;
use rtld::base::addr::{FileOffset, PageRange};
use rtld::base::arena::Arena;
use rtld::elf::dynamic::DynamicInfo;
use rtld::elf::note::abi_note;
use rtld::elf::plan::{LoadPlan, Protection, Segment};
use rtld::error::{Errno, Failure, OpenError, Problem};
use rtld::link::file::map_object;
use rtld::link::peek::{Kind, Outlook, is_musl, judge, libc_of, needs_libc};
use rtld::os::seam::{AddressSpace, FileInfo, Files};

use super::image::PAGE;

/// A machine on which reads and reservations are counted.
#[derive(Debug)]
pub struct Counted<'s, S> {
    sys: &'s S,
    reads: Cell<usize>,
    reserved: Cell<usize>,
}

impl<'s, S> Counted<'s, S> {
    /// Nothing was done yet.
    #[must_use]
    pub const fn new(sys: &'s S) -> Self {
        Self { sys, reads: Cell::new(0), reserved: Cell::new(0) }
    }

    /// How often some file was read.
    #[must_use]
    pub const fn reads(&self) -> usize {
        self.reads.get()
    }

    /// How many objects were mapped.
    #[must_use]
    pub const fn reserved(&self) -> usize {
        self.reserved.get()
    }
}

impl<S: Files> Files for Counted<'_, S> {
    type File = S::File;

    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError> {
        self.sys.open(path)
    }

    fn read_at<'b>(
        &self,
        file: &Self::File,
        offset: FileOffset,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b mut [u8], Errno> {
        self.reads.set(self.reads.get() + 1);
        self.sys.read_at(file, offset, buffer)
    }
}

impl<S: AddressSpace> AddressSpace for Counted<'_, S> {
    type Image = S::Image;

    fn reserve(&self, plan: &LoadPlan<'static>, file: &Self::File) -> Result<Self::Image, Errno> {
        self.reserved.set(self.reserved.get() + 1);
        self.sys.reserve(plan, file)
    }

    fn map_segment(&self, image: &mut Self::Image, file: &Self::File, segment: &Segment) -> Result<(), Errno> {
        self.sys.map_segment(image, file, segment)
    }

    fn unmap(&self, image: &mut Self::Image) {
        self.sys.unmap(image);
    }

    fn protect(&self, image: &Self::Image, range: PageRange, protection: Protection) -> Result<(), Errno> {
        self.sys.protect(image, range, protection)
    }
}

/// Which world a file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// It is libc-free.
    Ours,
    /// It is built for that libc.
    Native(Libc),
    /// It can not be used at all.
    Neither,
}

/// How a file was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is.
    pub world: World,
    /// How many reads that took.
    pub reads: usize,
    /// Whether it was mapped for that.
    pub mapped: bool,
}

/// What a mapped object says of itself.
type Nature = (DynamicInfo, Option<AbiNote>, Option<Libc>);

fn by_mapping<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
) -> Result<(Nature, Option<Libc>), Failure<'static>> {
    let mapped = map_object(sys, arena, file, info, PAGE)?;
    let note = abi_note(&mapped.image);
    let libc = needs_libc(&mapped.image, &mapped.dynamic).and_then(|libc| {
        let musl = libc.is_none() && is_musl(&mapped.image, &mapped.dynamic)?;
        Ok(libc.or(musl.then_some(Libc::Musl)))
    });
    // What `choose` asks, which does not care for notes.
    let named = libc.as_ref().ok().copied().flatten();
    let note = note?;
    let libc = if note.is_some() { None } else { libc? };
    Ok(((mapped.dynamic, note, libc), named))
}

/// Judges the file of that path, and checks that a mapped object's own tables say the same.
///
/// # Errors
/// The file can not be opened.
pub fn judged<S: AddressSpace>(sys: &S, arena: &'static Arena, path: &[u8]) -> Result<Judged, OpenError> {
    let counted = Counted::new(sys);
    let (file, info) = sys.open(path)?;
    let name = path.escape_ascii();
    let expected = by_mapping(sys, arena, &file, &info);
    let named = libc_of(sys, arena, &file, &info, PAGE);
    let result = judge(&counted, arena, &file, &info, PAGE, Outlook::Natives);
    let how = |world| Judged { world, reads: counted.reads(), mapped: counted.reserved() != 0 };
    match (result, expected) {
        (Ok(Kind::Native(libc)), Ok(((_, note, expected), of_mapped))) => {
            assert_eq!((Some(libc), None), (expected, note), "{name}");
            assert_eq!(named, Ok(of_mapped), "{name}");
            Ok(how(World::Native(libc)))
        }
        (Ok(Kind::Library(mapped, note)), Ok((expected, of_mapped))) => {
            assert_eq!((mapped.dynamic, note, None), expected, "{name}");
            assert_eq!(named.ok().flatten(), of_mapped, "{name}");
            Ok(how(World::Ours))
        }
        (Err(_), Err(failure)) if matches!(*failure, Problem::Map(_)) => Ok(how(World::Neither)),
        (Err(failure), Err(expected)) => {
            assert_eq!(failure, expected, "{name}");
            Ok(how(World::Neither))
        }
        // Whether there is memory for a native library is ld.so's concern.
        (Ok(Kind::Native(libc)), Err(failure)) if matches!(*failure, Problem::Map(_)) => {
            Ok(how(World::Native(libc)))
        }
        (result, expected) => {
            let result = result.map(|kind| matches!(kind, Kind::Native(_)));
            assert_eq!(
                result.map_err(Some),
                Err(None),
                "{name}: native or not, and as a mapped object {expected:?}"
            );
            Ok(how(World::Neither))
        }
    }
}
