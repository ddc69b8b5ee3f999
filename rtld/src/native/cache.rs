//! `/etc/ld.so.cache`: where glibc's ld.so finds libraries by name.
//!
//! The format is glibc's own (sysdeps/generic/dl-cache.h): a header of 48 bytes, entries of 24, strings. Files that
//! ldconfig(8) made for older versions begin with a table of another format, which is skipped.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::base::addr::to_usize;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;

/// The contents of the file, with entries that are known to be in it.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'c> {
    /// From the header on: offsets of strings count from there.
    bytes: &'c [u8],
    entries: &'c [u8],
}

impl<'c> Cache<'c> {
    /// `None` if the format is not known, or the file is shorter than it says.
    #[must_use]
    pub fn new(file: &'c [u8]) -> Option<Self> {
        let bytes = match file.strip_prefix(OLD_MAGIC) {
            Some(_) => {
                let entries = number(file, OLD_MAGIC.len())?.checked_mul(OLD_ENTRY)?;
                file.get(entries.checked_add(OLD_HEADER)?.checked_next_multiple_of(8)?..)?
            }
            None => file,
        };
        let count = bytes.strip_prefix(MAGIC).and_then(|_| number(bytes, MAGIC.len()))?;
        let entries = bytes.get(HEADER..)?.get(..count.checked_mul(ENTRY)?)?;
        Some(Self { bytes, entries })
    }

    /// The paths for a name, in the order of the file; `None` in the place of one that is not a string of the file. There are
    /// several for files of several machines, or for several levels of one.
    pub fn paths(self, name: &[u8]) -> impl Iterator<Item = Option<&'c [u8]>> {
        let entries = self.entries.chunks_exact(ENTRY);
        let named = entries.filter(move |entry| {
            let key = number(entry, 4).and_then(|at| self.bytes.get(at..));
            key.and_then(|key| key.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0))
        });
        named.map(move |entry| {
            let path = number(entry, 8).and_then(|at| self.bytes.get(at..))?;
            Some(CStr::from_bytes_until_nul(path).ok()?.to_bytes())
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk()?;
    Some(to_usize(u32::from_le_bytes(*number).into()))
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use std::vec::Vec;

    fn cache(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
        bytes.extend(u32::try_from(entries.len()).unwrap().to_le_bytes());
        bytes.resize(48, 0);
        let mut strings = Vec::new();
        let start = 48 + entries.len() * 24;
        for (name, path) in entries {
            let mut place = |text: &str| {
                let at = u32::try_from(start + strings.len()).unwrap();
                strings.extend(text.bytes().chain([0]));
                at
            };
            let (key, value) = (place(name), place(path));
            [0x303, key, value, 0, 0, 0].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        bytes.extend(strings);
        bytes
    }

    fn found(file: &[u8], name: &str) -> Vec<Vec<u8>> {
        let paths = Cache::new(file).unwrap();
        paths.paths(name.as_bytes()).map(|path| path.unwrap_or(b"?").to_vec()).collect()
    }

    #[test]
    fn names_lead_to_paths() {
        let file = cache(&[("liba.so", "/x/liba.so"), ("liba.so.1", "/x/1"), ("liba.so", "/y/2")]);
        assert_eq!(found(&file, "liba.so"), [&b"/x/liba.so"[..], b"/y/2"]);
        assert!(found(&file, "lib").is_empty() && found(&file, "liba.so.").is_empty());
        let mut old = b"ld.so-1.7.0\0\x01\0\0\0".to_vec();
        old.resize(32, 0);
        old.extend(file);
        assert_eq!(found(&old, "liba.so.1"), [b"/x/1"]);
    }

    #[test]
    fn what_is_not_inside_the_file_is_not_read() {
        let file = cache(&[("liba.so", "/x/liba.so")]);
        for len in 0..48 + 24 {
            assert!(Cache::new(&file[..len]).is_none(), "{len}");
        }
        assert!(found(&file[..72], "liba.so").is_empty(), "the name is not there");
        assert_eq!(found(&file[..84], "liba.so"), [b"?"], "the path has no end");
        let mut many = file.clone();
        many[20..24].fill(0xff);
        assert!(Cache::new(&many).is_none());
        let mut astray = file;
        astray[52..60].fill(0xff);
        assert!(found(&astray, "liba.so").is_empty());
        assert!(Cache::new(b"ld.so-1.7.0\0\xff\xff\xff\xff").is_none());
    }
}
