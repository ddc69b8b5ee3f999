//! DT_STRTAB, and the strings in it.
#![forbid(unsafe_code)]

use crate::base::addr::{Vaddr, from_usize};
use crate::base::limits::{NAME_MAX, PATH_MAX};
use crate::elf::plan::Place;
use crate::error::{Failure, Problem};
use crate::os::seam::Image;

/// DT_STRTAB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    pub(super) start: Vaddr,
    pub(super) size: u64,
}

impl Strings {
    /// DT_STRSZ, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The string at `offset`, without its NUL.
    ///
    /// # Errors
    /// [`Problem::BadString`] if the offset is outside the table or no NUL follows.
    pub fn get<'i>(&self, image: &'i (impl Image + ?Sized), offset: u64) -> Result<&'i [u8], Failure<'static>> {
        let left = self.size.checked_sub(offset).filter(|&left| left != 0);
        let string = left.and_then(|left| image.string(self.start.checked_add(offset)?, left));
        string.ok_or_else(|| Problem::BadString { offset }.into())
    }

    /// The name of a file, or its path, at `offset`. No more bytes are looked at than a path can have.
    ///
    /// # Errors
    /// [`Problem::BadString`]; [`Problem::LongName`] if it is longer than a path can be or, without a slash, longer than
    /// the name of a file.
    pub fn file_name<'i>(
        &self,
        image: &'i (impl Image + ?Sized),
        offset: u64,
    ) -> Result<&'i [u8], Failure<'static>> {
        let left = self.size.checked_sub(offset).filter(|&left| left != 0);
        let limit = from_usize(PATH_MAX);
        let name = left.and_then(|left| image.string(self.start.checked_add(offset)?, left.min(limit)));
        match (name, left) {
            (Some(name), _) if name.len() <= NAME_MAX || name.contains(&b'/') => Ok(name),
            (None, left) if left.is_none_or(|left| left <= limit) => Err(Problem::BadString { offset }.into()),
            _ => Err(Problem::LongName { offset }.into()),
        }
    }

    /// The bytes from `offset` to the end of the table.
    ///
    /// # Errors
    /// [`Problem::BadString`] with the offset, if it is not inside the table.
    pub fn from<'i>(&self, image: &'i impl Image, offset: u64) -> Result<&'i [u8], Failure<'static>> {
        let left = self.size.checked_sub(offset).filter(|&left| left != 0);
        let bytes = left.and_then(|left| image.bytes(self.start.checked_add(offset)?, left));
        bytes.ok_or_else(|| Problem::BadString { offset }.into())
    }

    /// Whether the string at `offset` equals `string`.
    ///
    /// # Errors
    /// [`Problem::BadString`] with the offset, if it is outside the table or no NUL follows.
    pub fn is(&self, image: &impl Image, offset: u64, string: &[u8]) -> Result<bool, Failure<'static>> {
        let size = from_usize(string.len()).wrapping_add(1);
        let fits = self.size.checked_sub(offset).is_some_and(|left| left >= size);
        let bytes = self.start.checked_add(offset).filter(|_| fits).and_then(|vaddr| image.bytes(vaddr, size));
        match bytes.and_then(<[u8]>::split_last) {
            Some((&last, bytes)) => Ok(last == 0 && bytes == string),
            // The string there is shorter, or has no end.
            None => self.get(image, offset).map(|_| false),
        }
    }

    /// Address and size of the table.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { vaddr: self.start, size: self.size }
    }
}
