//! The memory of one object.

use std::cell::RefCell;
use std::rc::Rc;

use rtld::addr::{LoadBias, PageRange, PageSize, Vaddr, to_usize};
use rtld::plan::{LoadPlan, Protection, Segment};
use rtld::seam::{Image, ImageMut};

/// Pages of this machine.
pub const PAGE: PageSize = PageSize::K4;

/// A page that was reserved, and nothing more.
const NOTHING: Protection = Protection { read: false, write: false, execute: false };

/// A reserved span, and what was mapped into it. As strict as hardware: every access asks the pages.
#[derive(Debug)]
pub struct MemImage {
    bias: LoadBias,
    span: PageRange,
    memory: Vec<u8>,
    /// As it was before anything was written through the image.
    original: Vec<u8>,
    segments: Vec<Segment>,
    /// Of each page of the span.
    pages: RefCell<Vec<Protection>>,
    /// Counts the images that have neither been dropped nor unmapped.
    alive: Option<Rc<()>>,
}

impl MemImage {
    /// A reservation at `bias`, inaccessible.
    pub(crate) fn reserve(plan: &LoadPlan, bias: LoadBias, alive: Rc<()>) -> Self {
        let size = to_usize(plan.span.len());
        let pages = vec![NOTHING; size / to_usize(PAGE.bytes())];
        Self {
            bias,
            span: plan.span,
            memory: vec![0; size],
            original: Vec::new(),
            segments: Vec::new(),
            pages: RefCell::new(pages),
            alive: Some(alive),
        }
    }

    /// Maps a segment, whose pages must be reserved and not mapped yet.
    pub(crate) fn map(&mut self, file: &[u8], segment: &Segment) {
        let (pages, file_pages) = (segment.pages, segment.file_pages);
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
        self.segments.push(*segment);
        self.original.clone_from(&self.memory);
    }

    /// Gives the memory back.
    pub(crate) fn unmap(&mut self) {
        self.alive = None;
        self.memory = Vec::new();
        self.original = Vec::new();
        self.segments = Vec::new();
        self.pages.borrow_mut().clear();
        self.span = PageRange::default();
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

    /// Whether everything that no writable segment holds is as it was mapped.
    #[must_use]
    pub fn kept_to_writable_segments(&self) -> bool {
        let mut now = self.memory.clone();
        for segment in self.segments.iter().filter(|segment| segment.protection.write) {
            let start = to_usize(segment.mem_start.0 - self.span.start.0);
            let end = to_usize(segment.mem_end.0 - self.span.start.0);
            if let (Some(now), Some(original)) = (now.get_mut(start..end), self.original.get(start..end)) {
                now.copy_from_slice(original);
            }
        }
        now == self.original
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

    /// Where in `memory` an access goes, if one segment holds all of it and its pages permit it.
    fn access(
        &self,
        vaddr: Vaddr,
        len: u64,
        permits: impl Fn(&Protection) -> bool,
    ) -> Option<std::ops::Range<usize>> {
        let end = vaddr.checked_add(len)?;
        let holds = |segment: &&Segment| segment.mem_start <= vaddr && end <= segment.mem_end;
        let segment = self.segments.iter().find(holds)?;
        let touched = PageRange::covering(vaddr, end, PAGE)?;
        let permitted = self.pages.borrow().get(self.pages_of(touched))?.iter().all(&permits);
        let start = to_usize(vaddr.0.checked_sub(self.span.start.0)?);
        (permitted && permits(&segment.protection)).then_some(start..start + to_usize(len))
    }
}

impl Image for MemImage {
    fn bias(&self) -> LoadBias {
        self.bias
    }

    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        self.memory.get(self.access(vaddr, len, |page| page.read)?)
    }

    fn readable(&self, vaddr: Vaddr) -> u64 {
        let holds = |segment: &&Segment| segment.mem_start <= vaddr && vaddr <= segment.mem_end;
        let segment = self.segments.iter().find(holds).filter(|segment| segment.protection.read);
        segment.map_or(0, |segment| segment.mem_end.0 - vaddr.0)
    }
}

impl ImageMut for MemImage {
    fn write(&mut self, vaddr: Vaddr, bytes: &[u8]) -> Option<()> {
        let place = self.access(vaddr, bytes.len() as u64, |page| page.write)?;
        self.memory.get_mut(place)?.copy_from_slice(bytes);
        Some(())
    }
}
