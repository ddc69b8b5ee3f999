//! The memory of one object.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

use rtld::base::addr::{LoadBias, PageRange, PageSize, Vaddr, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::elf::plan::{LoadPlan, Protection, Segment};
use rtld::machine::{Machine, X86_64};
use rtld::os::seam::{Image, ImageMut};

/// Size of a page in these tests.
pub const PAGE: PageSize = PageSize::K4;

/// Protection of a page that is reserved and not mapped.
const NOTHING: Protection = Protection { read: false, write: false, execute: false };

/// A reserved span of an address space, and the segments mapped into it. It is as strict as hardware: each access is
/// checked against the protection of its pages.
///
/// Its memory is an arena's: the loader never drops the list of its modules, and a fuzzer must not lose memory.
#[derive(Debug)]
pub struct MemImage<M = X86_64> {
    machine: PhantomData<M>,
    bias: LoadBias,
    span: PageRange,
    plan: LoadPlan<'static>,
    /// How many segments of the plan are mapped.
    mapped: usize,
    memory: &'static mut [u8],
    /// The memory before the first write through the image; zeros until the last segment is mapped.
    original: &'static mut [u8],
    /// Protection of each page of the span.
    pages: RefCell<&'static mut [Protection]>,
    /// Counts the images that are neither dropped nor unmapped.
    alive: &'static Cell<usize>,
}

thread_local! {
    /// Number of reads of images in this thread.
    static READS: Cell<u64> = const { Cell::new(0) };
}

impl MemImage {
    /// Number of reads of images in this thread.
    #[must_use]
    pub fn reads() -> u64 {
        READS.get()
    }
}

impl<M: Machine> MemImage<M> {
    /// A reservation at `bias`, inaccessible.
    pub(crate) fn reserve(
        plan: &LoadPlan<'static>,
        bias: LoadBias,
        arena: &'static Arena,
        alive: &'static Cell<usize>,
    ) -> Result<Self, OutOfMemory> {
        let size = to_usize(plan.span.len());
        let pages = arena.slice(size / to_usize(PAGE.bytes()), NOTHING)?;
        let image = Self {
            machine: PhantomData,
            bias,
            span: plan.span,
            plan: *plan,
            mapped: 0,
            memory: arena.bytes(size, 1)?,
            original: arena.bytes(size, 1)?,
            pages: RefCell::new(pages),
            alive,
        };
        alive.set(alive.get() + 1);
        Ok(image)
    }

    /// The segments that are mapped.
    fn segments(&self) -> &[Segment] {
        self.plan.segments().get(..self.mapped).unwrap_or_default()
    }

    /// Maps a segment, whose pages must be reserved and not mapped yet.
    pub(crate) fn map(&mut self, file: &[u8], segment: &Segment) {
        assert_eq!(self.plan.segments().get(self.mapped), Some(segment), "not the plan's next segment");
        let (pages, file_pages) = (segment.pages(), segment.file_pages());
        assert!(file_pages.is_empty() || file_pages.start == pages.start, "{segment:x?} begins after its pages");
        assert!(file_pages.end <= pages.end, "{segment:x?} is larger in the file than in memory");
        for page in self.pages_of(pages) {
            assert_eq!(self.pages.borrow().get(page), Some(&NOTHING), "{segment:x?} is mapped over another");
        }
        if !file_pages.is_empty() {
            assert_eq!(PAGE.offset_in(segment.offset.0), 0, "{segment:x?} is not page-aligned in the file");
            let bytes = file.get(to_usize(segment.offset.0)..).unwrap_or_default();
            assert!(!bytes.is_empty(), "{segment:x?} lies beyond the end of the file");
            let place = self.bytes_mut(file_pages.start, file_pages.len());
            for (place, byte) in place.iter_mut().zip(bytes) {
                *place = *byte;
            }
            if segment.mem_end > segment.data_end {
                assert!(segment.protection.write || segment.data_end == file_pages.end, "zeroes read-only pages");
                self.bytes_mut(segment.data_end, file_pages.end.0 - segment.data_end.0).fill(0);
            }
        }
        self.set_protection(pages, segment.protection);
        self.mapped += 1;
        if self.mapped == self.plan.segments().len() {
            self.original.copy_from_slice(self.memory);
        }
    }

    /// Gives the memory back.
    pub(crate) fn unmap(&mut self) {
        if !self.span.is_empty() {
            self.alive.set(self.alive.get() - 1);
        }
        self.span = PageRange::default();
        self.mapped = 0;
        self.memory = &mut [];
        self.original = &mut [];
        *self.pages.borrow_mut() = &mut [];
    }

    /// Changes the protection of pages of the span.
    pub(crate) fn set_protection(&self, range: PageRange, protection: Protection) {
        for page in self.pages_of(range) {
            if let Some(place) = self.pages.borrow_mut().get_mut(page) {
                *place = protection;
            }
        }
    }

    /// Protection of the page that holds `vaddr`.
    #[must_use]
    pub fn protection(&self, vaddr: u64) -> Option<Protection> {
        let page = vaddr.checked_sub(self.span.start.0)? / PAGE.bytes();
        self.pages.borrow().get(to_usize(page)).copied()
    }

    /// The word at `vaddr`.
    #[must_use]
    pub fn word(&self, vaddr: u64) -> Option<u64> {
        self.get(Vaddr(vaddr))
    }

    /// Whether all bytes outside of writable segments are unchanged.
    #[must_use]
    pub fn kept_to_writable_segments(&self) -> bool {
        let writable = self.segments().iter().filter(|segment| segment.protection.write);
        self.changed_only_in(writable.map(|segment| (segment.mem_start, segment.mem_end)))
    }

    /// Whether all bytes outside of these ranges, which must ascend, are unchanged.
    pub fn changed_only_in(&self, ranges: impl Iterator<Item = (Vaddr, Vaddr)>) -> bool {
        let position = |vaddr: Vaddr| to_usize(vaddr.0.saturating_sub(self.span.start.0)).min(self.memory.len());
        let same = |from: usize, to: usize| from >= to || self.memory.get(from..to) == self.original.get(from..to);
        let mut next = 0;
        for (start, end) in ranges {
            if !same(next, position(start)) {
                return false;
            }
            next = next.max(position(end));
        }
        same(next, self.memory.len())
    }

    /// The bytes at `vaddr` before the first write through the image.
    #[must_use]
    pub fn originally(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        let start = to_usize(vaddr.0.checked_sub(self.span.start.0)?);
        self.original.get(start..start.checked_add(to_usize(len))?)
    }

    /// Numbers of the pages of a range, which must be in the span.
    fn pages_of(&self, range: PageRange) -> std::ops::Range<usize> {
        assert!(self.span.start <= range.start && range.end <= self.span.end, "{range:x?} is not reserved");
        assert_eq!(PAGE.offset_in(range.start.0 | range.end.0), 0, "{range:x?} is not whole pages");
        let page = |vaddr: Vaddr| to_usize((vaddr.0 - self.span.start.0) / PAGE.bytes());
        page(range.start)..page(range.end)
    }

    fn bytes_mut(&mut self, vaddr: Vaddr, len: u64) -> &mut [u8] {
        let start = to_usize(vaddr.0 - self.span.start.0);
        self.memory.get_mut(start..start + to_usize(len)).unwrap_or_default()
    }

    /// Range in `memory` of an access; `None` unless it lies in one segment and all its pages permit it.
    fn access(
        &self,
        vaddr: Vaddr,
        len: u64,
        permits: impl Fn(&Protection) -> bool,
    ) -> Option<std::ops::Range<usize>> {
        let end = vaddr.checked_add(len)?;
        let holds = |segment: &&Segment| segment.mem_start <= vaddr && end <= segment.mem_end;
        let segment = self.segments().iter().find(holds)?;
        let touched = PageRange::covering(vaddr, end, PAGE)?;
        let permitted = self.pages.borrow().get(self.pages_of(touched))?.iter().all(&permits);
        let start = to_usize(vaddr.0.checked_sub(self.span.start.0)?);
        (permitted && permits(&segment.protection)).then_some(start..start + to_usize(len))
    }
}

impl<M: Machine> Image for MemImage<M> {
    type Machine = M;

    fn plan(&self) -> &LoadPlan<'_> {
        &self.plan
    }

    fn bias(&self) -> LoadBias {
        self.bias
    }

    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        READS.set(READS.get() + 1);
        self.memory.get(self.access(vaddr, len, |page| page.read)?)
    }

    fn readable(&self, vaddr: Vaddr) -> u64 {
        let holds = |segment: &&Segment| segment.mem_start <= vaddr && vaddr < segment.mem_end;
        let segment = self.segments().iter().find(holds).filter(|segment| segment.protection.read);
        segment.map_or(0, |segment| segment.mem_end.0 - vaddr.0)
    }

    fn file_backed(&self, vaddr: Vaddr) -> u64 {
        let holds = |segment: &&Segment| segment.mem_start <= vaddr && vaddr < segment.data_end;
        let segment = self.segments().iter().find(holds).filter(|segment| segment.protection.read);
        segment.map_or(0, |segment| segment.data_end.0 - vaddr.0)
    }
}

impl<M: Machine> ImageMut for MemImage<M> {
    fn write(&mut self, vaddr: Vaddr, bytes: &[u8]) -> Option<()> {
        let place = self.access(vaddr, bytes.len() as u64, |page| page.write)?;
        self.memory.get_mut(place)?.copy_from_slice(bytes);
        Some(())
    }
}

impl<M> Drop for MemImage<M> {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}
