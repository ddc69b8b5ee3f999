//! Thread-local storage of the program and its libraries.
//!
//! That of the start is static: one block, directly below or above the thread pointer. A library that is opened at run
//! time has a block of its own in each thread, which is made when the thread first asks for it; only if code has its
//! distance from the thread pointer compiled in (initial-exec) it is static, too, in room that was left for that.
//!
//! Places are signed distances from the thread pointer, in bytes (Drepper, "ELF Handling For Thread-Local Storage",
//! section 3). Variant II: the block ends at the thread pointer, and distances are negative. Variant I: the block
//! begins after a gap that belongs to the TCB. The program is placed first, so that its own block is nearest the thread
//! pointer: local-exec code has that distance compiled in.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::base::addr::{RuntimeAddr, align_up, to_usize};
use crate::base::report::{Category, Trace};
use crate::elf::plan::TlsSegment;
use crate::error::{Failure, Problem};
use crate::machine::Tls;
use crate::words;

/// Largest block in bytes. Programs have kilobytes; the limit only keeps sums far from wrapping.
const LIMIT: u64 = 1 << 30;

/// The places given so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsLayout {
    tls: Tls,
    /// Bytes from the thread pointer to the far end of the modules placed so far, the gap included.
    used: u64,
    align: u64,
    /// The room for later modules, once the layout is fixed.
    room: Option<Room>,
}

/// Room for the storage of libraries opened later. All are counted like [`TlsLayout::used`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    start: u64,
    end: u64,
    /// What lies beyond this was never given to a module, so it is zero in every thread.
    clean: u64,
}

/// The distance of storage that has no distance: all others are less than 1 GiB.
const NOWHERE: i64 = i64::MIN;

/// Bytes before the entries of a thread's table of blocks.
pub const TABLE_HEADER: u64 = 64;

/// Bytes of an entry of that table.
pub const TABLE_ENTRY: u64 = 32;

/// Thread-local storage of a library that was opened at run time. Its address is the module number in the library's DTPMOD
/// words. Everything but the distance stays as it was made.
#[derive(Debug)]
pub struct LateTls {
    /// Offset in bytes, from the start of each thread's table of blocks, of its entry there, which assembly reads: a multiple of
    /// [`TABLE_ENTRY`] behind [`TABLE_HEADER`]. Libraries of which one was closed before the other was opened may share it.
    pub entry: u64,
    /// A number that no other library has had, not 0: it tells blocks of this library from those of one that was closed.
    pub key: u64,
    /// Address of the initial values.
    pub image: RuntimeAddr,
    /// Sizes and alignment.
    pub segment: TlsSegment,
    distance: AtomicI64,
    is_clean: AtomicBool,
}

impl LateTls {
    /// Storage in slot `slot` of the tables, which has no distance.
    #[must_use]
    pub const fn new(slot: u64, key: u64, image: RuntimeAddr, segment: TlsSegment) -> Self {
        let entry = TABLE_HEADER.saturating_add(slot.saturating_mul(TABLE_ENTRY));
        Self { entry, key, image, segment, distance: AtomicI64::new(NOWHERE), is_clean: AtomicBool::new(false) }
    }

    /// Number of its entry in the tables, from 0 on.
    #[must_use]
    pub fn slot(&self) -> usize {
        to_usize(self.entry.saturating_sub(TABLE_HEADER).checked_div(TABLE_ENTRY).unwrap_or(0))
    }

    /// Distance of the block from the thread pointer, if it has the same in every thread.
    pub fn distance(&self) -> Option<i64> {
        Some(self.distance.load(Ordering::Relaxed)).filter(|&distance| distance != NOWHERE)
    }

    /// Places the block in a layout, at one distance for all threads, before any code of the library runs.
    ///
    /// # Errors
    /// [`Problem::TlsSize`] with the size in bytes, if the layout would exceed 1 GiB; [`Problem::TlsReserve`] with size,
    /// alignment and the bytes left, if the block does not fit the room for later modules.
    pub(crate) fn place(&self, layout: &mut TlsLayout) -> Result<i64, Failure<'static>> {
        let distance = layout.place(&self.segment)?;
        self.is_clean.store(layout.is_clean(distance, self.segment.mem_size), Ordering::Relaxed);
        self.distance.store(distance, Ordering::Relaxed);
        Ok(distance)
    }

    /// Whether the block is static, and was zero in every thread when it was placed.
    pub fn is_clean(&self) -> bool {
        self.is_clean.load(Ordering::Relaxed)
    }

    /// The module number in DTPMOD words.
    #[must_use]
    pub fn id(&self) -> u64 {
        RuntimeAddr::of(core::ptr::from_ref(self)).0
    }
}

/// The place of a module's thread-local blocks.
#[derive(Clone, Copy, Debug)]
pub enum TlsPlace<'a> {
    /// A module of the start: the distance of its blocks from the thread pointer in bytes, the same in every thread; and the
    /// number of the module for `__tls_get_addr`. No module has 0.
    Start {
        /// The distance.
        distance: i64,
        /// The number.
        id: u64,
    },
    /// A library that was opened at run time.
    Late(&'a LateTls),
}

impl TlsPlace<'_> {
    /// Distance of the blocks from the thread pointer, if it is the same in every thread.
    #[must_use]
    pub fn distance(&self) -> Option<i64> {
        match self {
            Self::Start { distance, .. } => Some(*distance),
            Self::Late(late) => late.distance(),
        }
    }

    /// Number of the module in DTPMOD words, and for dl_iterate_phdr(3) (`dlpi_tls_modid`).
    #[must_use]
    pub fn id(&self) -> u64 {
        match self {
            Self::Start { id, .. } => *id,
            Self::Late(late) => late.id(),
        }
    }
}

impl TlsLayout {
    /// An empty layout, for a machine.
    #[must_use]
    pub const fn new(tls: Tls) -> Self {
        Self { tls, used: tls.gap, align: 64, room: None }
    }

    /// Places one more module; returns the distance of its block from the thread pointer, in bytes.
    ///
    /// # Errors
    /// [`Problem::TlsSize`] with the size in bytes, if the layout would exceed 1 GiB; [`Problem::TlsReserve`] with
    /// size, alignment and the bytes left, if the layout is fixed and the module does not fit.
    pub fn place(&mut self, tls: &TlsSegment) -> Result<i64, Failure<'static>> {
        let too_large = Problem::TlsSize(tls.mem_size);
        if tls.mem_size > LIMIT || tls.align > LIMIT {
            return Err(too_large.into());
        }
        // The nearest free place that equals `p_vaddr` modulo the alignment. In variant II a block begins at its far
        // end, `end` bytes from the thread pointer or further.
        let mask = tls.align.wrapping_sub(1);
        let (near, size) = if self.tls.negative {
            let end = self.used.saturating_add(tls.mem_size);
            (end.wrapping_add(tls.vaddr.0.wrapping_neg().wrapping_sub(end) & mask), 0)
        } else {
            (self.used.wrapping_add(tls.vaddr.0.wrapping_sub(self.used) & mask), tls.mem_size)
        };
        let used = near.checked_add(size).filter(|&used| used <= LIMIT).ok_or(too_large)?;
        if let Some(room) = self.room.filter(|room| used > room.end || tls.align > self.align) {
            let left = room.end.saturating_sub(self.used);
            return Err(Problem::TlsReserve { size: tls.mem_size, align: tls.align, left }.into());
        }
        self.used = used;
        self.align = self.align.max(tls.align);
        Ok(self.signed(near))
    }

    /// The distance of `bytes` bytes, in the direction in which blocks lie.
    const fn signed(&self, bytes: u64) -> i64 {
        if self.tls.negative { bytes.cast_signed().wrapping_neg() } else { bytes.cast_signed() }
    }

    /// Fixes the layout, with room of at least `bytes` bytes for later modules.
    pub fn reserve(&mut self, bytes: u64) {
        let start = self.used;
        let end = align_up(start.saturating_add(bytes), self.align).unwrap_or(LIMIT);
        self.room = Some(Room { start, end, clean: start });
    }

    /// Gives room back that only closed modules used: `live` has the distances and sizes in bytes of the blocks in the
    /// room that stay.
    pub fn retain(&mut self, live: impl Iterator<Item = (i64, u64)>) {
        let Some(room) = &mut self.room else { return };
        room.clean = room.clean.max(self.used);
        let far_end = |(distance, size): (i64, u64)| {
            let near = distance.unsigned_abs();
            if self.tls.negative { near } else { near.saturating_add(size) }
        };
        self.used = live.map(far_end).fold(room.start, u64::max);
    }

    /// Whether the block of `size` bytes at a distance is zero in every thread, because no module has had it before.
    fn is_clean(&self, distance: i64, size: u64) -> bool {
        let far = distance.unsigned_abs();
        let near = if self.tls.negative { far.saturating_sub(size) } else { far };
        self.room.is_some_and(|room| near >= room.clean)
    }

    /// Size of the block in bytes, a multiple of its alignment. 0 if no module has thread-local storage.
    #[must_use]
    pub fn size(&self) -> u64 {
        // At most LIMIT, so it does not wrap.
        align_up(self.room.map_or(self.used, |room| room.end).saturating_sub(self.tls.gap), self.align)
            .unwrap_or(LIMIT)
    }

    /// Alignment of the thread pointer in bytes.
    #[must_use]
    pub const fn align(&self) -> u64 {
        self.align
    }

    /// Distance of the block's first byte from the thread pointer.
    #[must_use]
    pub fn start(&self) -> i64 {
        if self.tls.negative { self.signed(self.size()) } else { self.signed(self.tls.gap) }
    }

    /// Offset in the block of that distance. For a distance before the block it is larger than any block.
    #[must_use]
    pub fn image_offset(&self, distance: i64) -> u64 {
        distance.wrapping_sub(self.start()).cast_unsigned()
    }

    /// Offset in the block of the end of the room for later modules; 0 without such room.
    #[must_use]
    pub fn room_end(&self) -> u64 {
        match self.room {
            Some(room) if self.tls.negative => self.image_offset(self.signed(room.start)),
            Some(_) => self.size(),
            None => 0,
        }
    }

    /// Copies a module's initial image into the block. `false` if it does not fit.
    #[must_use]
    pub fn fill(&self, block: &mut [u8], distance: i64, image: &[u8]) -> bool {
        let start = to_usize(self.image_offset(distance));
        let place = start.checked_add(image.len()).and_then(|end| block.get_mut(start..end));
        place.map(|place| place.copy_from_slice(image)).is_some()
    }
}

/// The address at a distance from a thread pointer. Distances are less than 1 GiB.
#[must_use]
pub fn address(thread_pointer: usize, distance: i64) -> usize {
    thread_pointer.wrapping_add_signed(isize::try_from(distance).unwrap_or(0))
}

/// Traces the place of a module's thread-local blocks; `distance` is that from the thread pointer, if they have one.
pub(crate) fn trace_tls(trace: Trace, path: &[u8], tls: &TlsSegment, distance: Option<i64>) {
    let (size, align) = (tls.mem_size, tls.align);
    match distance {
        Some(distance) => {
            let (offset, side) = (distance.unsigned_abs(), if distance < 0 { "below" } else { "above" });
            trace.line(
                Category::Threads,
                words!(
                    "{}: block of {} bytes, alignment {}, {} {} the thread pointer",
                    path,
                    size,
                    align,
                    offset,
                    side
                ),
            );
        }
        None => trace.line(
            Category::Threads,
            words!("{}: blocks of {} bytes, alignment {}, one in each thread that asks for it", path, size, align),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{TlsLayout, address};
    use crate::base::addr::Vaddr;
    use crate::elf::plan::TlsSegment;
    use crate::error::Problem;
    use crate::machine::{Aarch64, Machine, Riscv64, Tls, X86_64};

    /// Variants II and I, of the latter with and without a gap.
    const ALL: [Tls; 3] = [X86_64::TLS, Aarch64::TLS, Riscv64::TLS];

    fn tls(vaddr: u64, mem_size: u64, align: u64) -> TlsSegment {
        TlsSegment { vaddr: Vaddr(vaddr), file_size: 0, mem_size, align }
    }

    /// The distance that linkers compile into local-exec code (lld, `getTlsTpOffset`; glibc, `_dl_determine_tlsoffset`).
    fn local_exec(tls: Tls, segment: &TlsSegment) -> i64 {
        let (vaddr, mask) = (segment.vaddr.0, segment.align - 1);
        if tls.negative {
            let size = segment.mem_size;
            -(size + (0u64.wrapping_sub(vaddr).wrapping_sub(size) & mask)).cast_signed()
        } else {
            (tls.gap + (vaddr.wrapping_sub(tls.gap) & mask)).cast_signed()
        }
    }

    #[test]
    fn the_program_has_the_distance_that_linkers_compile_in() {
        for (vaddr, size, align) in
            [(0x3000, 8, 8), (0x3de4, 0x1c, 4), (0x3f40, 0xc1, 64), (0x1008, 0x10, 16), (0x2010, 3, 64)]
        {
            for machine in ALL {
                let mut layout = TlsLayout::new(machine);
                let segment = tls(vaddr, size, align);
                let distance = layout.place(&segment).unwrap();
                assert_eq!(distance, local_exec(machine, &segment), "{machine:?}");
                assert_eq!(distance.cast_unsigned().wrapping_sub(vaddr) % align, 0);
                assert_eq!(layout.size() % layout.align(), 0);
                assert_eq!(layout.image_offset(layout.start()), 0);
                assert!(layout.image_offset(distance) + size <= layout.size());
            }
        }
        let first = |machine| TlsLayout::new(machine).place(&tls(0x1000, 8, 8)).unwrap();
        assert_eq!(ALL.map(first), [-8, 16, 0]);
    }

    #[test]
    fn a_layout_of_nothing_has_no_size() {
        assert_eq!(ALL.map(|machine| TlsLayout::new(machine).size()), [0; 3]);
    }

    #[test]
    fn blocks_do_not_overlap() {
        for machine in ALL {
            let mut layout = TlsLayout::new(machine);
            let segments = [tls(0, 100, 64), tls(8, 10, 32), tls(3, 1, 1), tls(0, 64, 128)];
            let places = segments.map(|segment| layout.place(&segment).unwrap());
            let mut taken = std::vec![false; usize::try_from(layout.size()).unwrap()];
            for (segment, distance) in segments.iter().zip(places) {
                let size = usize::try_from(segment.mem_size).unwrap();
                assert_eq!(distance.cast_unsigned().wrapping_sub(segment.vaddr.0) % segment.align, 0);
                let start = usize::try_from(layout.image_offset(distance)).unwrap();
                for byte in &mut taken[start..start + size] {
                    assert!(!core::mem::replace(byte, true), "{machine:?}: two blocks share a byte");
                }
            }
        }
    }

    #[test]
    fn huge_blocks_are_refused() {
        for machine in ALL {
            let mut layout = TlsLayout::new(machine);
            assert!(layout.place(&tls(0, u64::MAX, 1)).is_err());
            assert!(layout.place(&tls(0, 1, 1 << 63)).is_err());
            for _ in 0..4 {
                let _ = layout.place(&tls(0, 1 << 29, 1));
            }
            assert!(layout.size() <= 1 << 30);
        }
    }

    #[test]
    fn what_comes_later_stays_within_the_reserve() {
        for machine in ALL {
            let mut layout = TlsLayout::new(machine);
            layout.place(&tls(0, 100, 8)).unwrap();
            layout.reserve(1000);
            let size = layout.size();
            assert_eq!(size % 64, 0);
            let distance = layout.place(&tls(8, 900, 16)).unwrap();
            assert!(layout.image_offset(distance) + 900 <= size);
            assert!(matches!(
                layout.place(&tls(0, 300, 8)).map_err(|failure| *failure),
                Err(Problem::TlsReserve { size: 300, .. })
            ));
            assert!(matches!(
                layout.place(&tls(0, 8, 128)).map_err(|failure| *failure),
                Err(Problem::TlsReserve { align: 128, .. })
            ));
            assert_eq!(layout.size(), size);
        }
    }

    #[test]
    fn room_is_given_back_from_its_far_end() {
        for machine in ALL {
            let mut layout = TlsLayout::new(machine);
            layout.place(&tls(0, 100, 8)).unwrap();
            layout.reserve(1000);
            let place = |layout: &mut TlsLayout, size| {
                let distance = layout.place(&tls(0, size, 8)).unwrap();
                (distance, layout.is_clean(distance, size))
            };
            let (first, clean) = place(&mut layout, 400);
            assert!(clean, "{machine:?}");
            let (second, clean) = place(&mut layout, 400);
            assert!(clean && layout.place(&tls(0, 400, 8)).is_err());
            // A hole stays one until what lies beyond it goes.
            layout.retain([(second, 400)].into_iter());
            assert!(layout.place(&tls(0, 400, 8)).is_err());
            layout.retain(core::iter::empty());
            assert_eq!(place(&mut layout, 400), (first, false));
            assert!(!place(&mut layout, 500).1, "it reaches into what the second had");
            layout.retain([(first, 400)].into_iter());
            assert_eq!(place(&mut layout, 400), (second, false));
        }
    }

    #[test]
    fn images_go_where_the_distance_says() {
        let mut below = TlsLayout::new(X86_64::TLS);
        below.place(&tls(0, 6, 1)).unwrap();
        let mut block = [0u8; 64];
        assert!(below.fill(&mut block, -6, b"abc"));
        assert_eq!((below.start(), &block[58..61]), (-64, &b"abc"[..]));
        assert!(!below.fill(&mut block, -65, b"abc") && !below.fill(&mut block, -2, b"abc"));
        let mut above = TlsLayout::new(Aarch64::TLS);
        above.place(&tls(0, 6, 1)).unwrap();
        assert!(above.fill(&mut block, 18, b"xyz"));
        assert_eq!((above.start(), &block[2..5]), (16, &b"xyz"[..]));
        assert!(!above.fill(&mut block, 15, b"x") && !above.fill(&mut block, 78, b"abc"));
    }

    #[test]
    fn addresses_are_on_both_sides() {
        assert_eq!((address(100, -64), address(100, 16)), (36, 116));
    }
}
