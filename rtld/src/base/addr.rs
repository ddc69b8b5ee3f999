//! Addresses and offsets as distinct types, so that one kind can not be passed for another, and page arithmetic that
//! can not wrap.
#![forbid(unsafe_code)]

/// An address as the object's file states it (`p_vaddr`, `st_value`, `d_ptr`, `r_offset`), in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vaddr(pub u64);

/// A position in a file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileOffset(pub u64);

/// An address in this process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimeAddr(pub u64);

/// Run-time address minus link-time address of an object, modulo 2^64. Zero for ET_EXEC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadBias(pub u64);

impl Vaddr {
    /// The address `bytes` bytes further on; `None` if it wraps.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl RuntimeAddr {
    /// The address of a value of this process, exposed so that a pointer can be made of the number again.
    #[must_use]
    pub fn of<T: ?Sized>(pointer: *const T) -> Self {
        Self(from_usize(pointer.cast::<()>().expose_provenance()))
    }
}

impl LoadBias {
    /// The bias that puts `vaddr` at `runtime`.
    #[must_use]
    pub const fn new(runtime: RuntimeAddr, vaddr: Vaddr) -> Self {
        Self(runtime.0.wrapping_sub(vaddr.0))
    }

    /// The run-time address of `vaddr`.
    #[must_use]
    pub const fn runtime(self, vaddr: Vaddr) -> RuntimeAddr {
        RuntimeAddr(self.0.wrapping_add(vaddr.0))
    }

    /// The link-time address of `runtime`.
    #[must_use]
    pub const fn vaddr(self, runtime: RuntimeAddr) -> Vaddr {
        Vaddr(runtime.0.wrapping_sub(self.0))
    }
}

/// Size of a page, a power of two; stored as its exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// One byte: nothing is rounded.
    pub const BYTE: Self = Self(0);
    /// 4 KiB.
    pub const K4: Self = Self(12);
    /// 64 KiB.
    pub const K64: Self = Self(16);

    /// `bytes` as a page size, if it is a power of two (AT_PAGESZ).
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() { Some(Self(bytes.trailing_zeros())) } else { None }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1u64.wrapping_shl(self.0)
    }

    /// Position of `value` within its page.
    #[must_use]
    pub const fn offset_in(self, value: u64) -> u64 {
        value & self.bytes().wrapping_sub(1)
    }

    /// `value` rounded down to the start of its page.
    #[must_use]
    pub const fn floor(self, value: u64) -> u64 {
        value & !self.bytes().wrapping_sub(1)
    }

    /// `value` rounded up to a multiple of the page size; `None` if that wraps.
    #[must_use]
    pub const fn ceil(self, value: u64) -> Option<u64> {
        align_up(value, self.bytes())
    }
}

/// `value` rounded up to a multiple of `alignment`, a power of two; `None` if that wraps.
#[must_use]
pub const fn align_up(value: u64, alignment: u64) -> Option<u64> {
    let mask = alignment.wrapping_sub(1);
    match value.checked_add(mask) {
        Some(sum) => Some(sum & !mask),
        None => None,
    }
}

/// A run of whole pages of an object, in link-time addresses. It may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRange {
    /// First byte, page-aligned.
    pub start: Vaddr,
    /// First byte after the range, page-aligned.
    pub end: Vaddr,
}

impl PageRange {
    /// The whole pages that contain `[start, end)`; `None` if rounding up wraps.
    #[must_use]
    pub const fn covering(start: Vaddr, end: Vaddr, page: PageSize) -> Option<Self> {
        match page.ceil(end.0) {
            Some(end) if start.0 <= end => Some(Self { start: Vaddr(page.floor(start.0)), end: Vaddr(end) }),
            _ => None,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether the range contains no page.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// `usize` from a 64-bit number. On the supported machines every address fits; elsewhere the value saturates, and the
/// bounds check that follows refuses it.
#[must_use]
pub fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// `u64` from a size in memory.
#[must_use]
pub const fn from_usize(value: usize) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::{LoadBias, PageRange, PageSize, RuntimeAddr, Vaddr, align_up};

    #[test]
    fn rounding_never_wraps() {
        assert_eq!(PageSize::K4.ceil(u64::MAX), None);
        assert_eq!(PageSize::K4.ceil(0), Some(0));
        assert_eq!(PageSize::K4.ceil(4097), Some(8192));
        assert_eq!(align_up(u64::MAX - 3, 4), Some(u64::MAX - 3));
        assert_eq!(PageSize::new(12288), None);
    }

    #[test]
    fn bias_may_be_negative() {
        let bias = LoadBias::new(RuntimeAddr(0x1000), Vaddr(0x40_0000));
        assert_eq!(bias.runtime(Vaddr(0x40_0010)), RuntimeAddr(0x1010));
        assert_eq!(bias.vaddr(RuntimeAddr(0x1010)), Vaddr(0x40_0010));
    }

    #[test]
    fn ranges_cover_whole_pages() {
        let range = PageRange::covering(Vaddr(0x1fff), Vaddr(0x2001), PageSize::K4).unwrap();
        assert_eq!((range.start.0, range.end.0), (0x1000, 0x3000));
        assert_eq!(PageRange::covering(Vaddr(1), Vaddr(u64::MAX), PageSize::K4), None);
    }
}
