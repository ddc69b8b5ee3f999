//! The paths that an ld.so was built with. Distributions differ in them, and nothing but its own strings tells.
#![forbid(unsafe_code)]

use abi::libcs::Libc;

use crate::base::arena::{Arena, List};
use crate::os::seam::Image;

/// The paths of an ld.so.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn<'s> {
    /// Its own directories, which it searches last, separated by colons.
    pub directories: &'s [u8],
    /// glibc's list of libraries.
    pub cache: &'s [u8],
    /// glibc's list of libraries that come before all others.
    pub preload: &'s [u8],
}

/// musl's own directories, if it has no file of them.
const MUSL: &[u8] = b"/lib:/usr/local/lib:/usr/lib";

impl<'s> BuiltIn<'s> {
    /// Those of a mapped ld.so: every absolute path in its read-only data that ends in a slash counts as a directory, so there
    /// may be too many, but none is missing. `None` if there is none, or not just one absolute path of a cache: then it is
    /// another program than glibc's, or searches in its own way; out of memory.
    pub fn of(libc: Libc, image: &impl Image, arena: &'s Arena) -> Option<Self> {
        if libc == Libc::Musl {
            return Some(Self { directories: MUSL, cache: b"", preload: b"" });
        }
        let mut found = Self { directories: b"", cache: b"", preload: b"" };
        let mut directories: List<'s, u8> = List::new(arena);
        // Strings are among code where there is no segment for read-only data.
        for code in [false, true] {
            let segments = image.plan().segments().iter();
            for segment in segments.filter(|it| it.protection.execute == code && !it.protection.write) {
                let start = segment.mem_start;
                let bytes = image.bytes(start, segment.data_end.0.saturating_sub(start.0)).unwrap_or_default();
                for text in bytes.split(|&byte| byte == 0).filter_map(path_in) {
                    if let Some(directory) = text.strip_suffix(b"/").filter(|directory| !directory.is_empty()) {
                        if !directories.split(|&byte| byte == b':').any(|known| known == directory) {
                            directories.extend(directory).ok()?;
                            directories.push(b':').ok()?;
                        }
                    } else if text.ends_with(b"/ld.so.cache") {
                        if !found.cache.is_empty() && found.cache != text {
                            return None;
                        }
                        found.cache = arena.copy(text).ok()?;
                    } else if text.ends_with(b"/ld.so.preload") {
                        found.preload = arena.copy(text).ok()?;
                    }
                }
            }
            if let (Some((_, list)), false) = (directories.split_last(), found.cache.is_empty()) {
                found.directories = arena.copy(list).ok()?;
                return found.cache.starts_with(b"/").then_some(found);
            }
        }
        None
    }
}

/// The absolute path at the end of bytes that a NUL follows; of a file, the path as it is there.
fn path_in(bytes: &[u8]) -> Option<&[u8]> {
    if !matches!(bytes.last(), Some(b'/' | b'e' | b'd')) {
        return None;
    }
    let text = bytes.rsplit(|byte| !byte.is_ascii_graphic()).next()?;
    let start = text.iter().position(|&byte| byte == b'/')?;
    text.get(if text.ends_with(b"/") { start } else { 0 }..)
}

#[cfg(test)]
mod tests {
    use super::path_in;

    #[test]
    fn paths_among_other_bytes() {
        for (bytes, path) in [
            (&b"/lib/"[..], Some(&b"/lib/"[..])),
            (b"\x01\x02/usr/lib/", Some(b"/usr/lib/")),
            (b"xy/lib64/", Some(b"/lib64/")),
            (b"/etc/ld.so.cache", Some(b"/etc/ld.so.cache")),
            (b"../etc/ld.so.cache", Some(b"../etc/ld.so.cache")),
            (b"%s/", Some(b"/")),
            (b"lib", None),
            (b"", None),
        ] {
            assert_eq!(path_in(bytes), path);
        }
    }
}
