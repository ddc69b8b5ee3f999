//! `/etc/ld.so.cache`: where glibc's ld.so finds libraries by name.
//!
//! The format is glibc's own (sysdeps/generic/dl-cache.h): a header of 48 bytes, entries of 24, strings. Nothing is known of
//! files that ldconfig(8) made for versions before 2.32 as well, which begin with a table of another format.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use abi::arch::NATIVE;

use crate::base::addr::to_usize;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The contents of the file, with entries that are known to be in it.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'c> {
    /// Offsets of strings count from the start.
    bytes: &'c [u8],
    entries: &'c [u8],
}

impl<'c> Cache<'c> {
    /// `None` if the format is not known, or the file is shorter than it says.
    #[must_use]
    pub fn new(bytes: &'c [u8]) -> Option<Self> {
        let count = bytes.strip_prefix(MAGIC).and_then(|_| number(bytes, MAGIC.len()))?;
        let entries = bytes.get(HEADER..)?.get(..count.checked_mul(ENTRY)?)?;
        Some(Self { bytes, entries })
    }

    /// The path for a name; `Some(None)` if it has none. ld.so takes the first entry of its machine, even if there is no such
    /// file. `None` if one of them is for certain processors or kernels only, or has no path in the file.
    #[must_use]
    pub fn path(self, name: &[u8]) -> Option<Option<&'c [u8]>> {
        let string = |entry: &[u8], at| number(entry, at).and_then(|offset| self.bytes.get(offset..));
        let mut first = None;
        for entry in self.entries.chunks_exact(ENTRY) {
            let key = string(entry, 4).and_then(|key| key.strip_prefix(name));
            if key.and_then(<[u8]>::first) != Some(&0)
                || number(entry, 0) != Some(to_usize(NATIVE.cache_flags.into()))
            {
                continue;
            }
            // Version of the kernel, and capabilities of the processor.
            if entry.get(12..)?.iter().any(|&byte| byte != 0) {
                return None;
            }
            if first.is_none() {
                first = Some(CStr::from_bytes_until_nul(string(entry, 8)?).ok()?.to_bytes());
            }
        }
        Some(first)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk()?;
    Some(to_usize(u32::from_le_bytes(*number).into()))
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use abi::arch::NATIVE;
    use std::vec::Vec;

    /// A file of entries: flags, name, path, capabilities.
    fn cache(entries: &[(u32, &str, &str, u32)]) -> Vec<u8> {
        let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
        bytes.extend(u32::try_from(entries.len()).unwrap().to_le_bytes());
        bytes.resize(48, 0);
        let mut strings = Vec::new();
        let start = 48 + entries.len() * 24;
        for &(flags, name, path, capabilities) in entries {
            let mut place = |text: &str| {
                let at = u32::try_from(start + strings.len()).unwrap();
                strings.extend(text.bytes().chain([0]));
                at
            };
            let (key, value) = (place(name), place(path));
            [flags, key, value, 0, 0, capabilities].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        bytes.extend(strings);
        bytes
    }

    const OURS: u32 = NATIVE.cache_flags;

    fn found<'c>(file: &'c [u8], name: &str) -> Option<Option<&'c [u8]>> {
        Cache::new(file).unwrap().path(name.as_bytes())
    }

    #[test]
    fn names_lead_to_paths() {
        let file = cache(&[
            (OURS, "liba.so", "/x/liba.so", 0),
            (OURS, "liba.so.1", "/x/1", 0),
            (OURS, "liba.so", "/y/2", 0),
            (OURS ^ 0x8000, "libb.so", "/other/machine", 0),
            (OURS, "libb.so", "/b", 0),
            (OURS, "libc.so", "/c", 0),
            (OURS, "libc.so", "/processor/c", 1 << 30),
            (OURS ^ 0x8000, "libd.so", "/other/machine", 1),
        ]);
        for (name, path) in [("liba.so", "/x/liba.so"), ("liba.so.1", "/x/1"), ("libb.so", "/b")] {
            assert_eq!(found(&file, name), Some(Some(path.as_bytes())));
        }
        assert_eq!(found(&file, "libc.so"), None, "it depends on the processor");
        for absent in ["lib", "liba.so.", "libd.so"] {
            assert_eq!(found(&file, absent), Some(None));
        }
    }

    #[test]
    fn what_is_not_inside_the_file_is_not_read() {
        let file = cache(&[(OURS, "liba.so", "/x/liba.so", 0)]);
        for len in 0..48 + 24 {
            assert!(Cache::new(&file[..len]).is_none(), "{len}");
        }
        assert_eq!(found(&file[..72], "liba.so"), Some(None), "the name is not there");
        assert_eq!(found(&file[..84], "liba.so"), None, "the path has no end");
        let mut many = file.clone();
        many[20..24].fill(0xff);
        assert!(Cache::new(&many).is_none());
        let mut astray = file;
        astray[52..60].fill(0xff);
        assert_eq!(found(&astray, "liba.so"), Some(None));
        assert!(Cache::new(b"ld.so-1.7.0\0\xff\xff\xff\xff").is_none());
    }
}
