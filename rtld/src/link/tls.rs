//! Static thread-local storage of the program and its libraries: one block below the thread pointer.
//!
//! TLS variant II (Drepper, "ELF Handling For Thread-Local Storage", section 3): a module's block begins
//! `offset` bytes below the thread pointer. The program comes first, so its block is nearest the thread
//! pointer: local-exec code has that offset compiled in.
#![forbid(unsafe_code)]

use crate::base::addr::{align_up, to_usize};
use crate::base::report::{Category, Trace};
use crate::elf::plan::TlsSegment;
use crate::error::Escaped;
use crate::error::{Failure, Problem};

/// Largest block in bytes. Programs have kilobytes; this only keeps sums far from wrapping.
const LIMIT: u64 = 1 << 30;

/// The layout so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsLayout {
    used: u64,
    align: u64,
    /// Where the room for modules of later ends, once the layout is fixed.
    end: Option<u64>,
}

impl Default for TlsLayout {
    fn default() -> Self {
        Self { used: 0, align: 64, end: None }
    }
}

impl TlsLayout {
    /// Places one more module; answers its offset below the thread pointer, in bytes.
    pub fn place(&mut self, tls: &TlsSegment) -> Result<u64, Failure<'static>> {
        let too_large = Problem::TlsSize(tls.mem_size);
        if tls.mem_size > LIMIT || tls.align > LIMIT {
            return Err(too_large.into());
        }
        let end = self.used.checked_add(tls.mem_size).ok_or(too_large)?;
        // The smallest offset from `end` on that puts the block at `p_vaddr` modulo its alignment.
        let mask = tls.align.wrapping_sub(1);
        let padding = tls.vaddr.0.wrapping_neg().wrapping_sub(end) & mask;
        let offset = end.checked_add(padding).filter(|&offset| offset <= LIMIT).ok_or(too_large)?;
        if let Some(end) = self.end.filter(|&end| offset > end || tls.align > self.align) {
            let left = end.saturating_sub(self.used);
            return Err(Problem::TlsReserve { size: tls.mem_size, align: tls.align, left }.into());
        }
        self.used = offset;
        self.align = self.align.max(tls.align);
        Ok(offset)
    }

    /// Fixes the layout, with at least `bytes` bytes of room for modules that come later.
    pub fn reserve(&mut self, bytes: u64) {
        self.end = Some(align_up(self.used.saturating_add(bytes), self.align).unwrap_or(LIMIT));
    }

    /// Size of the block in bytes, a multiple of its alignment. Zero if no module has any.
    #[must_use]
    pub fn size(&self) -> u64 {
        // At most LIMIT, so it does not wrap.
        align_up(self.end.unwrap_or(self.used), self.align).unwrap_or(LIMIT)
    }

    /// Alignment of the thread pointer in bytes.
    #[must_use]
    pub const fn align(&self) -> u64 {
        self.align
    }
}

/// Writes a module's initial image into the block of all modules. `false` if it does not fit.
#[must_use]
pub fn fill(block: &mut [u8], offset: u64, image: &[u8]) -> bool {
    let place = block.len().checked_sub(to_usize(offset)).and_then(|start| {
        let end = start.checked_add(image.len())?;
        block.get_mut(start..end)
    });
    place.map(|place| place.copy_from_slice(image)).is_some()
}

/// Says where a module's thread-local block is.
pub(crate) fn trace_tls(trace: Trace, path: &[u8], tls: &TlsSegment, offset: u64) {
    let (path, size, align) = (Escaped(path), tls.mem_size, tls.align);
    trace.line(
        Category::Threads,
        format_args!("{path}: block of {size} bytes, alignment {align}, {offset} below the thread pointer"),
    );
}

#[cfg(test)]
mod tests {
    use super::{TlsLayout, fill};
    use crate::base::addr::Vaddr;
    use crate::elf::plan::TlsSegment;
    use crate::error::Problem;

    fn tls(vaddr: u64, mem_size: u64, align: u64) -> TlsSegment {
        TlsSegment { vaddr: Vaddr(vaddr), file_size: 0, mem_size, align }
    }

    #[test]
    fn the_program_has_the_offset_that_linkers_compile_in() {
        for (vaddr, size, align) in [(0x3000, 8, 8), (0x3de4, 0x1c, 4), (0x3f40, 0xc1, 64), (0x1008, 0x10, 16)] {
            let mut layout = TlsLayout::default();
            let offset = layout.place(&tls(vaddr, size, align)).unwrap();
            assert_eq!(offset, size + ((0u64.wrapping_sub(vaddr).wrapping_sub(size)) & (align - 1)));
            assert_eq!((0u64.wrapping_sub(offset).wrapping_sub(vaddr)) % align, 0);
            assert_eq!(layout.size() % layout.align(), 0);
        }
    }

    #[test]
    fn blocks_do_not_overlap() {
        let mut layout = TlsLayout::default();
        let first = layout.place(&tls(0, 100, 64)).unwrap();
        let second = layout.place(&tls(8, 10, 32)).unwrap();
        assert!(second >= first + 10);
        assert_eq!((0u64.wrapping_sub(second).wrapping_sub(8)) % 32, 0);
    }

    #[test]
    fn huge_blocks_are_refused() {
        let mut layout = TlsLayout::default();
        assert!(layout.place(&tls(0, u64::MAX, 1)).is_err());
        assert!(layout.place(&tls(0, 1, 1 << 63)).is_err());
        for _ in 0..4 {
            let _ = layout.place(&tls(0, 1 << 29, 1));
        }
        assert!(layout.size() <= 1 << 30);
    }

    #[test]
    fn what_comes_later_stays_within_the_reserve() {
        let mut layout = TlsLayout::default();
        layout.place(&tls(0, 100, 8)).unwrap();
        layout.reserve(1000);
        let size = layout.size();
        assert_eq!(size % 64, 0);
        let offset = layout.place(&tls(8, 900, 16)).unwrap();
        assert!(offset >= 1000 && offset <= size);
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

    #[test]
    fn images_go_where_the_offset_says() {
        let mut block = [0u8; 16];
        assert!(fill(&mut block, 6, b"abc"));
        assert_eq!(&block[10..13], b"abc");
        assert!(!fill(&mut block, 17, b"abc") && !fill(&mut block, 2, b"abc"));
    }
}
