//! A limit of the bytes of symbol names that are read of one object.
#![forbid(unsafe_code)]

use crate::base::addr::from_usize;
use crate::elf::dynamic::DynamicInfo;
use crate::error::{Failure, Problem};

/// Length in bytes up to which a name is not counted: so long names are that only few objects have any.
const SHORT: u64 = 1024;

/// How often each byte of DT_STRTAB may be read as part of a long name. Linkers store a name once, and other names that
/// are its ends with it.
const TIMES: u64 = 64;

/// Bytes that the long names of any object may have.
const ALWAYS: u64 = 1 << 20;

/// The bytes of long names that may still be read of an object.
///
/// Symbols may share the bytes of their names, so names can have more bytes in all than the file by a factor of its size.
/// Without this limit a file of some megabytes would keep the loader busy for minutes, and copies of such names would
/// take gigabytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NameAllowance {
    left: u64,
    size: u64,
}

impl NameAllowance {
    /// What is allowed for an object.
    #[must_use]
    pub const fn of(dynamic: &DynamicInfo) -> Self {
        let size = dynamic.strings.size();
        Self { left: size.saturating_mul(TIMES).saturating_add(ALWAYS), size }
    }

    /// Takes a name of `len` bytes out of it.
    ///
    /// # Errors
    /// [`Problem::LongNames`] if it is used up.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> Result<(), Failure<'static>> {
        let long = from_usize(len).saturating_sub(SHORT);
        if long == 0 { Ok(()) } else { self.take_long(long) }
    }

    #[cold]
    fn take_long(&mut self, long: u64) -> Result<(), Failure<'static>> {
        let Self { left, size } = *self;
        self.left = left.checked_sub(long).ok_or(Problem::LongNames { times: TIMES, size })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ALWAYS, NameAllowance, SHORT};
    use crate::elf::dynamic::DynamicInfo;

    #[test]
    fn only_long_names_count() {
        let mut names = NameAllowance::of(&DynamicInfo::default());
        let short = usize::try_from(SHORT).unwrap();
        assert!((0..10_000).all(|_| names.take(short).is_ok()));
        assert!(names.take(usize::try_from(ALWAYS + SHORT).unwrap()).is_ok());
        assert!(names.take(short).is_ok() && names.take(short + 1).is_err());
    }
}
