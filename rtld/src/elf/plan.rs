//! The plan of an object's mappings, a value computed from its program headers. This file maps nothing; the code that
//! maps decides nothing.
#![forbid(unsafe_code)]

use crate::base::addr::{FileOffset, PageRange, PageSize, Vaddr};
use crate::base::arena::{Arena, OutOfMemory};
use crate::elf::{Phdr, consts};
use crate::error::{Failure, Problem, SegmentFault, Table};

/// Largest number of PT_LOAD segments of an object. Linkers write two to six.
pub const MAX_SEGMENTS: usize = 16;

/// Permitted use of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

impl Protection {
    /// No access.
    pub const NONE: Self = Self { read: false, write: false, execute: false };
    /// Read only.
    pub const READ: Self = Self { read: true, write: false, execute: false };
    /// Read and write.
    pub const READ_WRITE: Self = Self { read: true, write: true, execute: false };

    /// Decodes `p_flags`.
    #[must_use]
    pub const fn from_flags(flags: u32) -> Self {
        Self {
            read: flags & consts::PF_R != 0,
            write: flags & consts::PF_W != 0,
            execute: flags & consts::PF_X != 0,
        }
    }
}

/// One PT_LOAD, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file of its first page.
    pub offset: FileOffset,
    /// End of the bytes from the file; the bytes from here to `mem_end` are zero.
    pub data_end: Vaddr,
    /// `p_vaddr`.
    pub mem_start: Vaddr,
    /// `p_vaddr + p_memsz`.
    pub mem_end: Vaddr,
    /// Permitted use of its pages.
    pub protection: Protection,
    page: PageSize,
}

impl Segment {
    const EMPTY: Self = Self {
        offset: FileOffset(0),
        data_end: Vaddr(0),
        mem_start: Vaddr(0),
        mem_end: Vaddr(0),
        protection: Protection::NONE,
        page: PageSize::BYTE,
    };

    /// All pages of the segment.
    #[must_use]
    pub fn pages(&self) -> PageRange {
        self.pages_to(self.mem_end)
    }

    /// The first pages of the segment, up to the last one with a byte from the file.
    #[must_use]
    pub fn file_pages(&self) -> PageRange {
        if self.data_end == self.mem_start {
            let start = self.pages().start;
            return PageRange { start, end: start };
        }
        self.pages_to(self.data_end)
    }

    #[inline(never)]
    fn pages_to(&self, end: Vaddr) -> PageRange {
        // `plan` has checked that it does not wrap.
        PageRange::covering(self.mem_start, end, self.page).unwrap_or_default()
    }

    fn plan(phdr: &Phdr, origin: Origin, page: PageSize) -> Result<Self, Failure<'static>> {
        let vaddr = Vaddr(phdr.p_vaddr);
        let fault = |fault| Failure::from(Problem::Segment { vaddr, fault });
        let protection = Protection::from_flags(phdr.p_flags);
        if phdr.p_filesz > phdr.p_memsz {
            return Err(fault(SegmentFault::FileLargerThanMemory));
        }
        let aligned = phdr.p_align == 0 || phdr.p_align.is_power_of_two();
        if !aligned || page.offset_in(phdr.p_vaddr) != page.offset_in(phdr.p_offset) {
            return Err(fault(SegmentFault::Misaligned));
        }
        let wraps = || fault(SegmentFault::Wraps);
        let mem_end = vaddr.checked_add(phdr.p_memsz).ok_or_else(wraps)?;
        let data_end = vaddr.checked_add(phdr.p_filesz).ok_or_else(wraps)?;
        PageRange::covering(vaddr, mem_end, page).ok_or_else(wraps)?;
        let offset = FileOffset(page.floor(phdr.p_offset));
        let segment = Self { offset, data_end, mem_start: vaddr, mem_end, protection, page };
        let file_pages = segment.file_pages();
        let file_end = phdr.p_offset.checked_add(phdr.p_filesz).ok_or_else(wraps)?;
        if let Origin::File { size, .. } = origin {
            if file_end > size {
                return Err(Problem::Truncated { end: FileOffset(file_end), size }.into());
            }
            if protection.write && protection.execute {
                return Err(fault(SegmentFault::WritableAndExecutable));
            }
            let zeroes = !file_pages.is_empty() && mem_end > data_end && data_end < file_pages.end;
            if zeroes && !protection.write {
                return Err(fault(SegmentFault::ZeroesReadOnly));
            }
        }
        Ok(segment)
    }

    /// Whether the segment's memory contains all of `[vaddr, vaddr + len)`.
    #[must_use]
    pub const fn contains(&self, vaddr: Vaddr, len: u64) -> bool {
        let (into, size) = (vaddr.0.wrapping_sub(self.mem_start.0), self.mem_end.0.wrapping_sub(self.mem_start.0));
        // `mem_start` is at most `mem_end`.
        into <= size && len <= size.wrapping_sub(into)
    }
}

/// PT_TLS: the initial image of an object's thread-local storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsSegment {
    /// Address of the image.
    pub vaddr: Vaddr,
    /// Size of the image in bytes.
    pub file_size: u64,
    /// Size of the block in bytes; the bytes after the image are zero.
    pub mem_size: u64,
    /// Alignment of the block in bytes, a power of two.
    pub align: u64,
}

/// An address in the object, and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First byte.
    pub vaddr: Vaddr,
    /// Size in bytes.
    pub size: u64,
}

/// How the object comes into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel has mapped it, after its own checks.
    Kernel,
    /// The loader maps it from a file.
    File {
        /// Size of the file in bytes.
        size: u64,
        /// Whether it must be mapped at its own addresses (ET_EXEC).
        fixed: bool,
    },
}

/// Largest number of PT_NOTE segments of an object that are looked at. Linkers write one for each alignment of notes.
const MAX_NOTES: usize = 8;

/// Room for the longest plan. Most are far shorter: what stays is [kept](LoadPlan::keep) by its real size.
#[derive(Debug)]
pub struct PlanRoom {
    segments: [Segment; MAX_SEGMENTS],
    notes: [Place; MAX_NOTES],
}

impl PlanRoom {
    /// Unused room.
    #[must_use]
    pub const fn new() -> Self {
        Self { segments: [Segment::EMPTY; MAX_SEGMENTS], notes: [Place { vaddr: Vaddr(0), size: 0 }; MAX_NOTES] }
    }
}

impl Default for PlanRoom {
    fn default() -> Self {
        Self::new()
    }
}

/// The mappings of an object, and the places of its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadPlan<'p> {
    segments: &'p [Segment],
    /// The first PT_NOTE segments, at most eight.
    pub notes: &'p [Place],
    /// From the first page of the first segment to the last page of the last.
    pub span: PageRange,
    /// Whether the object must be mapped at its own addresses (ET_EXEC).
    pub fixed: bool,
    /// Alignment of the load bias in bytes, at least a page.
    pub align: u64,
    /// PT_DYNAMIC.
    pub dynamic: Option<Place>,
    /// PT_TLS, unless its size is 0.
    pub tls: Option<TlsSegment>,
    /// PT_GNU_RELRO, in whole pages.
    pub relro: Option<PageRange>,
    /// Whether PT_GNU_STACK asks for a stack that is executable. Without PT_GNU_STACK nothing is asked for.
    pub executable_stack: bool,
}

impl<'p> LoadPlan<'p> {
    /// The plan of an object without segments.
    pub(crate) const EMPTY: Self = Self {
        segments: &[],
        notes: &[],
        span: PageRange { start: Vaddr(0), end: Vaddr(0) },
        fixed: false,
        align: 0,
        dynamic: None,
        tls: None,
        relro: None,
        executable_stack: false,
    };

    /// Plans an object from its program headers. `room` holds what the plan refers to.
    ///
    /// # Errors
    /// [`Problem::NoSegments`], [`Problem::TooManySegments`], [`Problem::Segment`] with the `p_vaddr` and the fault,
    /// [`Problem::Truncated`] if the file ends before a segment, [`Problem::OutsideImage`] or [`Problem::TableSize`]
    /// for a PT_DYNAMIC, PT_TLS or PT_GNU_RELRO that is not inside a segment.
    pub fn new(
        phdrs: impl Iterator<Item = Phdr> + Clone,
        origin: Origin,
        page: PageSize,
        room: &'p mut PlanRoom,
    ) -> Result<Self, Failure<'static>> {
        let mut plan = Self::EMPTY;
        plan.make(phdrs, origin, page, room)?;
        Ok(plan)
    }

    /// Turns an [`EMPTY`](Self::EMPTY) plan into that of an object, in place.
    ///
    /// # Errors
    /// Those of [`LoadPlan::new`].
    pub(crate) fn make(
        &mut self,
        phdrs: impl Iterator<Item = Phdr> + Clone,
        origin: Origin,
        page: PageSize,
        room: &'p mut PlanRoom,
    ) -> Result<(), Failure<'static>> {
        self.align = page.bytes();
        self.fixed = matches!(origin, Origin::File { fixed: true, .. });
        let PlanRoom { segments, notes } = room;
        let (mut count, mut end) = (0_usize, Vaddr(0));
        for phdr in phdrs.clone().filter(|phdr| phdr.p_type == consts::PT_LOAD && phdr.p_memsz != 0) {
            let segment = Segment::plan(&phdr, origin, page)?;
            let pages = segment.pages();
            if count != 0 && pages.start < end {
                return Err(Problem::Segment { vaddr: segment.mem_start, fault: SegmentFault::Overlaps }.into());
            }
            end = pages.end;
            *segments.get_mut(count).ok_or(Problem::TooManySegments { limit: MAX_SEGMENTS })? = segment;
            count = count.wrapping_add(1);
            self.align = self.align.max(phdr.p_align);
        }
        self.segments = segments.get(..count).unwrap_or_default();
        let first = self.segments.first().ok_or(Problem::NoSegments)?;
        self.span = PageRange { start: first.pages().start, end };
        let mut count = 0_usize;
        for phdr in phdrs {
            if phdr.p_type != consts::PT_NOTE {
                self.note(&phdr, page)?;
            } else if phdr.p_filesz != 0
                && let Some(free) = notes.get_mut(count)
            {
                *free = Place { vaddr: self.vaddr_of_note(&phdr), size: phdr.p_filesz };
                count = count.wrapping_add(1);
            }
        }
        self.notes = notes.get(..count).unwrap_or_default();
        Ok(())
    }

    /// The plan with what it refers to in `arena`.
    ///
    /// # Errors
    /// The arena has no memory left.
    #[inline(never)]
    pub fn keep<'a>(&self, arena: &'a Arena) -> Result<LoadPlan<'a>, OutOfMemory> {
        let (segments, notes) = (arena.copy(self.segments)?, arena.copy(self.notes)?);
        let Self { span, fixed, align, dynamic, tls, relro, executable_stack, .. } = *self;
        Ok(LoadPlan { segments, notes, span, fixed, align, dynamic, tls, relro, executable_stack })
    }

    /// The PT_LOAD segments, in ascending order.
    #[must_use]
    pub const fn segments(&self) -> &'p [Segment] {
        self.segments
    }

    /// Address of the byte at `offset` of the file; `None` if that byte is not mapped.
    #[must_use]
    pub fn vaddr_of(&self, offset: FileOffset) -> Option<Vaddr> {
        self.segments().iter().find_map(|segment| {
            let into = offset.0.checked_sub(segment.offset.0)?;
            let vaddr = segment.pages().start.checked_add(into)?;
            (segment.mem_start <= vaddr && vaddr < segment.data_end).then_some(vaddr)
        })
    }

    /// Refuses a file of `size` bytes that is shorter than the segments need.
    ///
    /// # Errors
    /// [`Problem::Truncated`] with the end of the first segment that is cut off, and the size.
    pub fn require_file(&self, size: u64) -> Result<(), Failure<'static>> {
        for segment in self.segments().iter().filter(|segment| !segment.file_pages().is_empty()) {
            let data = segment.data_end.0.saturating_sub(segment.pages().start.0);
            let end = segment.offset.0.saturating_add(data);
            if end > size {
                return Err(Problem::Truncated { end: FileOffset(end), size }.into());
            }
        }
        Ok(())
    }

    /// The segment that contains all of `[vaddr, vaddr + len)`.
    #[must_use]
    pub fn segment_of(&self, vaddr: Vaddr, len: u64) -> Option<&Segment> {
        self.segments().iter().find(|segment| segment.contains(vaddr, len))
    }

    /// Number of bytes from `vaddr` to the end of the readable segment that contains it; 0 if none does.
    #[must_use]
    pub fn readable(&self, vaddr: Vaddr) -> u64 {
        let segment = self.segment_of(vaddr, 1).filter(|segment| segment.protection.read);
        segment.map_or(0, |segment| segment.mem_end.0.saturating_sub(vaddr.0))
    }

    /// Number of file-backed bytes from `vaddr` on, in the readable segment that contains it; 0 if none does.
    #[must_use]
    pub fn file_backed(&self, vaddr: Vaddr) -> u64 {
        let segment = self.segment_of(vaddr, 1).filter(|segment| segment.protection.read);
        segment.map_or(0, |segment| segment.data_end.0.saturating_sub(vaddr.0))
    }

    /// The first segment, if one mapping of it may cover the whole span until the other segments are mapped over it:
    /// every page of the span belongs to a segment, the first segment has bytes from the file and is not writable, and
    /// the alignment is at most a page.
    #[must_use]
    pub fn base(&self) -> Option<&Segment> {
        let (first, others) = self.segments().split_first()?;
        let mut end = first.pages().end;
        let dense = others.iter().all(|next| core::mem::replace(&mut end, next.pages().end) == next.pages().start);
        // The kernel's choice of an address is a multiple of a page.
        let anywhere = !self.fixed && self.align <= first.page.bytes();
        let usable = anywhere && !first.file_pages().is_empty() && !first.protection.write;
        Some(first).filter(|_| dense && usable)
    }

    /// Whether a mapping of [`Self::base`] over the whole span already has this segment's pages from the file, with its
    /// protection.
    #[must_use]
    pub fn is_in_base(&self, segment: &Segment) -> bool {
        let distance = |segment: &Segment| segment.pages().start.0.wrapping_sub(segment.offset.0);
        self.base()
            .is_some_and(|base| base.protection == segment.protection && distance(base) == distance(segment))
    }

    /// Size of a page that it was planned for.
    #[must_use]
    pub const fn page(&self) -> PageSize {
        match self.segments {
            [first, ..] => first.page,
            [] => PageSize::BYTE,
        }
    }

    fn note(&mut self, phdr: &Phdr, page: PageSize) -> Result<(), Failure<'static>> {
        let place = Place { vaddr: Vaddr(phdr.p_vaddr), size: phdr.p_memsz };
        match phdr.p_type {
            consts::PT_DYNAMIC => {
                self.require(place, Table::Dynamic)?;
                self.dynamic = Some(place);
            }
            consts::PT_TLS if phdr.p_memsz != 0 => {
                let image = Place { vaddr: place.vaddr, size: phdr.p_filesz };
                let align = phdr.p_align.max(1);
                if phdr.p_filesz > phdr.p_memsz || !align.is_power_of_two() {
                    return Err(Problem::TableSize { table: Table::TlsImage, size: phdr.p_filesz }.into());
                }
                if image.size != 0 {
                    self.require(image, Table::TlsImage)?;
                }
                self.tls =
                    Some(TlsSegment { vaddr: place.vaddr, file_size: image.size, mem_size: place.size, align });
            }
            consts::PT_GNU_STACK => self.executable_stack = phdr.p_flags & consts::PF_X != 0,
            consts::PT_GNU_RELRO if phdr.p_memsz != 0 => {
                let outside = Problem::OutsideImage { table: Table::Relro, vaddr: place.vaddr };
                let end = place.vaddr.checked_add(place.size).ok_or(outside)?;
                let start = Vaddr(page.floor(place.vaddr.0));
                // Rounded down, as glibc and musl do: bytes after the end of a page that is only partly
                // covered are ordinary data.
                let range = PageRange { start, end: Vaddr(page.floor(end.0)) };
                let in_one = |segment: &Segment| {
                    let pages = segment.pages();
                    segment.protection.write && pages.start <= range.start && range.end <= pages.end
                };
                if !range.is_empty() {
                    self.segments().iter().find(|segment| in_one(segment)).ok_or(outside)?;
                    self.relro = Some(range);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Address of a PT_NOTE: `p_vaddr`, unless other bytes of the file are there. strip(1) and objcopy(1) leave a wrong address
    /// where they take out the first note of a segment, with the right offset.
    fn vaddr_of_note(&self, phdr: &Phdr) -> Vaddr {
        let vaddr = Vaddr(phdr.p_vaddr);
        let offset_of =
            |segment: &Segment| segment.offset.0.wrapping_add(vaddr.0.wrapping_sub(segment.pages().start.0));
        match self.segment_of(vaddr, 1) {
            Some(segment) if offset_of(segment) == phdr.p_offset => vaddr,
            _ => self.vaddr_of(FileOffset(phdr.p_offset)).unwrap_or(vaddr),
        }
    }

    /// Takes out all that is of concern to a loader besides mapping: for an object that does the rest itself.
    pub(crate) const fn map_only(&mut self) {
        (self.dynamic, self.tls, self.relro) = (None, None, None);
    }

    fn require(&self, place: Place, table: Table) -> Result<(), Failure<'static>> {
        match self.segment_of(place.vaddr, place.size) {
            Some(segment) if segment.protection.read => Ok(()),
            _ => Err(Problem::OutsideImage { table, vaddr: place.vaddr }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, LoadPlan, Origin, PageSize, Problem, SegmentFault};
    use crate::base::addr::{FileOffset, Vaddr};
    use crate::elf::{Phdr, consts};

    const FILE: Origin = Origin::File { size: 0x3000, fixed: false };

    fn load(vaddr: u64, offset: u64, filesz: u64, memsz: u64, flags: u32) -> Phdr {
        Phdr {
            p_type: consts::PT_LOAD,
            p_flags: flags,
            p_offset: offset,
            p_vaddr: vaddr,
            p_paddr: vaddr,
            p_filesz: filesz,
            p_memsz: memsz,
            p_align: 0x1000,
        }
    }

    fn plan_for(phdrs: &[Phdr], page: PageSize) -> Result<LoadPlan<'static>, Failure<'static>> {
        LoadPlan::new(phdrs.iter().copied(), FILE, page, std::boxed::Box::leak(std::boxed::Box::default()))
    }

    fn plan(phdrs: &[Phdr]) -> Result<LoadPlan<'static>, Failure<'static>> {
        plan_for(phdrs, PageSize::K4)
    }

    fn fault(phdrs: &[Phdr]) -> SegmentFault {
        match plan(phdrs).map_err(|failure| *failure) {
            Err(Problem::Segment { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_and_data_with_bss() {
        let plan = plan(&[load(0, 0, 0x1234, 0x1234, 5), load(0x2f00, 0x1f00, 0x200, 0x3000, 6)]).unwrap();
        let [text, data] = plan.segments() else { panic!() };
        assert_eq!(text.pages().end, Vaddr(0x2000));
        assert_eq!((data.pages().start, data.pages().end), (Vaddr(0x2000), Vaddr(0x6000)));
        assert_eq!((data.file_pages().end, data.data_end), (Vaddr(0x4000), Vaddr(0x3100)));
        assert_eq!(data.offset, FileOffset(0x1000));
        assert_eq!(plan.span.end, Vaddr(0x6000));
        assert!(plan.segment_of(Vaddr(0x2f00), 0x3000).is_some());
        assert!(plan.segment_of(Vaddr(0x2eff), 1).is_none(), "the page's head is not the segment's");
    }

    #[test]
    fn pages_of_any_size() {
        // As linked for 64 KiB, on kernels with pages of 4, 16 and 64 KiB.
        let mut phdrs = [load(0, 0, 0x1234, 0x1234, 5), load(0x1_1ff0, 0x1ff0, 0x20, 0x1_0000, 6)];
        phdrs.iter_mut().for_each(|phdr| phdr.p_align = 0x1_0000);
        for (exponent, rw, file_end, end) in [
            (12, 0x1_1000, 0x1_3000, 0x2_2000),
            (14, 0x1_0000, 0x1_4000, 0x2_4000),
            (16, 0x1_0000, 0x2_0000, 0x3_0000),
        ] {
            let page = PageSize::new(1 << exponent).unwrap();
            let plan = plan_for(&phdrs, page).unwrap();
            assert_eq!((plan.page(), plan.align), (page, 0x1_0000));
            let data = plan.segments()[1];
            assert_eq!((data.pages().start, data.file_pages().end), (Vaddr(rw), Vaddr(file_end)), "{page:?}");
            assert_eq!((data.pages().end, plan.span.end), (Vaddr(end), Vaddr(end)));
            assert_eq!(data.offset.0 % page.bytes(), 0);
            // What is aligned to more than a page can not be left to the kernel's choice, and holes are nobody's.
            assert_eq!(plan.base().is_some(), page == PageSize::K64, "{page:?}");
        }
    }

    #[test]
    fn what_is_linked_for_smaller_pages_is_refused() {
        let phdrs = [load(0, 0, 0x1000, 0x1000, 5), load(0x1000, 0x1000, 0x1000, 0x1000, 6)];
        let planned = plan_for(&phdrs, PageSize::K64);
        let overlaps = Problem::Segment { vaddr: Vaddr(0x1000), fault: SegmentFault::Overlaps };
        assert_eq!(planned.map_err(|failure| *failure), Err(overlaps));
        assert!(plan(&phdrs).is_ok());
    }

    #[test]
    fn only_zeros_need_no_file() {
        let plan = plan(&[load(0x1000, 0, 0, 0x10, 6)]).unwrap();
        assert!(plan.segments()[0].file_pages().is_empty());
    }

    #[test]
    fn faults() {
        assert_eq!(fault(&[load(0, 0, 2, 1, 4)]), SegmentFault::FileLargerThanMemory);
        assert_eq!(fault(&[load(1, 0, 1, 1, 4)]), SegmentFault::Misaligned);
        assert_eq!(fault(&[load(u64::MAX - 0xfff, 0, 1, 0x1001, 4)]), SegmentFault::Wraps);
        assert_eq!(fault(&[load(0, 0, 1, 1, 7)]), SegmentFault::WritableAndExecutable);
        assert_eq!(fault(&[load(0, 0, 1, 2, 4)]), SegmentFault::ZeroesReadOnly);
        assert_eq!(fault(&[load(0x1000, 0, 1, 1, 4), load(0, 0, 1, 1, 4)]), SegmentFault::Overlaps);
        assert_eq!(fault(&[load(0, 0, 9, 9, 4), load(0x800, 0x800, 1, 1, 4)]), SegmentFault::Overlaps);
        let mut odd = load(0, 0, 1, 1, 4);
        odd.p_align = 0x1800;
        assert_eq!(fault(&[odd]), SegmentFault::Misaligned);
    }

    #[test]
    fn limits_are_said() {
        assert_eq!(plan(&[]), Err(Problem::NoSegments.into()));
        let past = plan(&[load(0, 0x2000, 0x1001, 0x1001, 4)]);
        assert_eq!(past, Err(Problem::Truncated { end: FileOffset(0x3001), size: 0x3000 }.into()));
        let whole = plan(&[load(0x1100, 0x100, 0x1000, 0x1000, 4)]).unwrap();
        assert_eq!(whole.require_file(0x1100), Ok(()));
        let end = FileOffset(0x1100);
        assert_eq!(whole.require_file(0x10ff), Err(Problem::Truncated { end, size: 0x10ff }.into()));
        let many: std::vec::Vec<_> = (0..17).map(|i| load(i * 0x1000, 0, 1, 1, 4)).collect();
        assert_eq!(plan(&many), Err(Problem::TooManySegments { limit: 16 }.into()));
    }

    #[test]
    fn relro_and_dynamic_must_be_inside() {
        let mut relro = load(0x2000, 0, 0, 0x1000, 4);
        relro.p_type = consts::PT_GNU_RELRO;
        assert!(plan(&[load(0, 0, 1, 1, 6), relro]).is_err());
        let mut dynamic = load(0x10, 0, 0, 0x1000, 4);
        dynamic.p_type = consts::PT_DYNAMIC;
        assert!(plan(&[load(0, 0, 1, 1, 6), dynamic]).is_err());
    }

    #[test]
    fn an_executable_stack_is_what_the_header_asks_for() {
        let stack = |flags| Phdr { p_type: consts::PT_GNU_STACK, ..load(0, 0, 0, 0, flags) };
        for (headers, wanted) in [
            (&[load(0, 0, 1, 1, 5)][..], false),
            (&[load(0, 0, 1, 1, 5), stack(6)], false),
            (&[stack(7), load(0, 0, 1, 1, 4)], true),
        ] {
            assert_eq!(plan(headers).unwrap().executable_stack, wanted);
        }
    }
}
