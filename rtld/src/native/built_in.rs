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
        // Strings are among code where there is no segment for read-only data.
        Self::among(
            [false, true].map(|code| {
                let segments = image.plan().segments().iter();
                let alike = segments.filter(move |it| it.protection.execute == code && !it.protection.write);
                alike.filter_map(|segment| {
                    let start = segment.mem_start;
                    image.bytes(start, segment.data_end.0.saturating_sub(start.0))
                })
            }),
            arena,
        )
    }

    /// Those among the bytes of the first part that has any.
    fn among<'b>(parts: [impl Iterator<Item = &'b [u8]>; 2], arena: &'s Arena) -> Option<Self> {
        let mut found = Self { directories: b"", cache: b"", preload: b"" };
        let mut directories: List<'s, u8> = List::new(arena);
        for part in parts {
            for text in part.flat_map(|bytes| bytes.split(|&byte| byte == 0)).filter_map(path_in) {
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
            if let Some((_, list)) = directories.split_last() {
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
    use super::{BuiltIn, path_in};
    use crate::base::arena::Arena;

    use std::string::String;

    /// Directories and cache of an ld.so with these strings.
    fn built_in(strings: &str) -> Option<(String, String)> {
        let arena = Arena::new(crate::os::testing::leaking());
        let parts = [[strings.as_bytes()].into_iter(), [&b"/code/\0/code/ld.so.cache\0"[..]].into_iter()];
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        BuiltIn::among(parts, &arena).map(|found| (text(found.directories), text(found.cache)))
    }

    #[test]
    fn only_a_linker_with_one_cache_is_known() {
        let known = |directories: &str, cache: &str| Some((directories.into(), cache.into()));
        assert_eq!(
            built_in("/lib/\0/usr/lib/\0x\0/etc/ld.so.cache\0/lib/\0"),
            known("/lib:/usr/lib", "/etc/ld.so.cache")
        );
        assert_eq!(built_in(""), known("/code", "/code/ld.so.cache"));
        for other in [
            "/lib/\0nothing\0",
            "/lib/\0../etc/ld.so.cache\0",
            "/lib/\0%s/ld.so.cache\0",
            "/lib/\0/etc/ld.so.cache\0/other/etc/ld.so.cache\0",
        ] {
            assert_eq!(built_in(other), None, "{other}");
        }
    }

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
