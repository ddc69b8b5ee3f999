//! Static thread-local storage of the program and its libraries: one block, directly below or above the thread pointer.
//!
//! Places are signed distances from the thread pointer, in bytes (Drepper, "ELF Handling For Thread-Local Storage",
//! section 3). Variant II: the block ends at the thread pointer, and distances are negative. Variant I: the block
//! begins after a gap that belongs to the TCB. The program is placed first, so that its own block is nearest the thread
//! pointer: local-exec code has that distance compiled in.
#![forbid(unsafe_code)]

use crate::base::addr::{align_up, to_usize};
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
    /// End of the room for later modules, once the layout is fixed; counted like `used`.
    end: Option<u64>,
}

impl TlsLayout {
    /// An empty layout, for a machine.
    #[must_use]
    pub const fn new(tls: Tls) -> Self {
        Self { tls, used: tls.gap, align: 64, end: None }
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
        if let Some(end) = self.end.filter(|&end| used > end || tls.align > self.align) {
            let left = end.saturating_sub(self.used);
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
        self.end = Some(align_up(self.used.saturating_add(bytes), self.align).unwrap_or(LIMIT));
    }

    /// Size of the block in bytes, a multiple of its alignment. 0 if no module has thread-local storage.
    #[must_use]
    pub fn size(&self) -> u64 {
        // At most LIMIT, so it does not wrap.
        align_up(self.end.unwrap_or(self.used).saturating_sub(self.tls.gap), self.align).unwrap_or(LIMIT)
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

/// Traces the place of a module's thread-local block.
pub(crate) fn trace_tls(trace: Trace, path: &[u8], tls: &TlsSegment, distance: i64) {
    let (offset, side) = (distance.unsigned_abs(), if distance < 0 { "below" } else { "above" });
    let (size, align) = (tls.mem_size, tls.align);
    trace.line(
        Category::Threads,
        words!("{}: block of {} bytes, alignment {}, {} {} the thread pointer", path, size, align, offset, side),
    );
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
