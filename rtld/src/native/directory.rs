//! Paths for libc that depend on the current directory. libc may come when the program has changed that, so they are
//! made absolute with the directory of the start.
#![forbid(unsafe_code)]

use crate::base::arena::{Arena, List, OutOfMemory};
use crate::link::search::is_relative;

/// How a list of paths is read by ld.so.
#[derive(Clone, Copy, Debug)]
pub struct PathList {
    /// Bytes that separate entries. (There is no NUL in a list.)
    separators: [u8; 2],
    /// Whether an entry without a slash is a name to search for, and an empty one nothing. Otherwise an entry is a
    /// directory, and an empty one the current directory.
    names: bool,
}

/// DT_RUNPATH and DT_RPATH.
pub const SEARCH_PATH: PathList = PathList { separators: *b"::", names: false };

/// LD_LIBRARY_PATH. glibc alone takes the semicolon (ld.so(8)).
pub const LIBRARY_PATH: PathList = PathList { separators: *b":;", names: false };

/// A DT_NEEDED.
pub const NEEDED: PathList = PathList { separators: [0; 2], names: true };

/// The variables of ld.so(8) that hold paths. What writes a file counts, too.
const VARIABLES: [(&[u8], PathList); 5] = [
    (b"LD_LIBRARY_PATH=", LIBRARY_PATH),
    (b"LD_PRELOAD=", PathList { separators: *b": ", names: true }),
    (b"LD_AUDIT=", PathList { separators: *b"::", names: true }),
    (b"LD_DEBUG_OUTPUT=", PathList { separators: [0; 2], names: false }),
    (b"LD_PROFILE_OUTPUT=", PathList { separators: [0; 2], names: false }),
];

/// Name and value of a variable that holds paths, the name with its `=`.
fn of_variable(variable: &[u8]) -> Option<(&[u8], &[u8], PathList)> {
    VARIABLES.iter().find_map(|(name, list)| {
        let value = variable.strip_prefix(*name)?;
        Some((*name, value, *list))
    })
}

impl PathList {
    /// Takes the next entry from `rest`, with the separator behind it; and whether it depends on the current directory.
    #[inline(never)]
    fn next<'l>(self, rest: &mut Option<&'l [u8]>) -> Option<(&'l [u8], bool)> {
        let list = rest.take()?;
        let (mut entry, [one, other]) = (list, self.separators);
        if let Some(at) = list.iter().position(|&byte| byte == one || byte == other) {
            (entry, *rest) = (list.get(..=at).unwrap_or_default(), list.get(at.wrapping_add(1)..));
        }
        // The separator makes no difference to the question.
        Some((entry, is_relative(entry) && (!self.names || entry.contains(&b'/'))))
    }

    /// Whether an entry of the list depends on the current directory.
    #[must_use]
    pub fn is_relative(self, list: &[u8]) -> bool {
        let mut rest = Some(list).filter(|list| !list.is_empty());
        while let Some((_, depends)) = self.next(&mut rest) {
            if depends {
                return true;
            }
        }
        false
    }

    /// `name`, and the list with each entry that depends on the current directory below `directory`; a NUL
    /// follows in memory.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn absolute<'a>(
        self,
        arena: &'a Arena,
        name: &[u8],
        list: &[u8],
        directory: &[u8],
    ) -> Result<&'a [u8], OutOfMemory> {
        let mut text = List::new(arena);
        text.extend(name)?;
        let mut rest = Some(list).filter(|list| !list.is_empty());
        while let Some((entry, depends)) = self.next(&mut rest) {
            if depends {
                text.extend(directory)?;
                text.push(b'/')?;
            }
            text.extend(entry)?;
        }
        text.push(0)?;
        Ok(arena.copy(&text)?.strip_suffix(b"\0").unwrap_or_default())
    }
}

/// Whether a variable has an entry that depends on the current directory.
#[must_use]
pub fn is_relative_variable(variable: &[u8]) -> bool {
    of_variable(variable).is_some_and(|(_, value, list)| list.is_relative(value))
}

/// A variable with such entries below `directory`, if there is one; a NUL follows in memory.
///
/// # Errors
/// The arena has no memory left.
pub fn absolute_variable<'a>(
    arena: &'a Arena,
    variable: &[u8],
    directory: Option<&[u8]>,
) -> Result<&'a [u8], OutOfMemory> {
    match (of_variable(variable), directory) {
        (Some((name, value, list)), Some(directory)) => list.absolute(arena, name, value, directory),
        _ => Ok(arena.concat(&[variable, b"\0"])?.strip_suffix(b"\0").unwrap_or_default()),
    }
}

/// Whether the path of a directory can stand in every list: it has neither a separator nor a `$` in it.
#[must_use]
pub fn can_be_listed(directory: &[u8]) -> bool {
    !directory.iter().any(|byte| b":; $\n".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::{
        LIBRARY_PATH, NEEDED, PathList, SEARCH_PATH, absolute_variable, can_be_listed, is_relative_variable,
    };
    use crate::base::arena::Arena;

    use std::string::String;

    fn variable(text: &str) -> String {
        let arena = Arena::new(crate::os::testing::leaking());
        let text = absolute_variable(&arena, text.as_bytes(), Some(b"/at")).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn variables() {
        for (text, becomes) in [
            ("LD_LIBRARY_PATH=lib", "LD_LIBRARY_PATH=/at/lib"),
            ("LD_LIBRARY_PATH=/a:", "LD_LIBRARY_PATH=/a:/at/"),
            ("LD_LIBRARY_PATH=:/a", "LD_LIBRARY_PATH=/at/:/a"),
            ("LD_LIBRARY_PATH=;.;$LIB", "LD_LIBRARY_PATH=/at/;/at/.;/at/$LIB"),
            ("LD_PRELOAD=a/b.so libm.so.6:: /c.so", "LD_PRELOAD=/at/a/b.so libm.so.6:: /c.so"),
            ("LD_AUDIT=./x.so", "LD_AUDIT=/at/./x.so"),
            ("LD_DEBUG_OUTPUT=a:b", "LD_DEBUG_OUTPUT=/at/a:b"),
        ] {
            assert!(is_relative_variable(text.as_bytes()), "{text}");
            assert_eq!(variable(text), becomes);
        }
        for text in [
            "LD_LIBRARY_PATH=",
            "LD_LIBRARY_PATH=/a:$ORIGIN/b;${ORIGIN}",
            "LD_PRELOAD=libm.so.6 /x.so",
            "LD_PRELOAD=",
            "LD_DEBUG_OUTPUT=",
            "LD_BIND_NOW=x/y",
        ] {
            assert!(!is_relative_variable(text.as_bytes()), "{text}");
            assert_eq!(variable(text), text);
        }
    }

    #[test]
    fn lists() {
        let arena = Arena::new(crate::os::testing::leaking());
        let absolute = |of: PathList, list: &str| {
            let text = of.absolute(&arena, b"", list.as_bytes(), b"/at").unwrap();
            String::from_utf8(text.to_vec()).unwrap()
        };
        assert_eq!(absolute(SEARCH_PATH, "a:/b::$ORIGIN"), "/at/a:/b:/at/:$ORIGIN");
        assert_eq!(absolute(SEARCH_PATH, "/a;b"), "/a;b", "no separator here");
        assert_eq!(absolute(LIBRARY_PATH, ""), "");
        assert_eq!(absolute(NEEDED, "a/b:c.so"), "/at/a/b:c.so");
        assert_eq!(absolute(NEEDED, "libz.so.1"), "libz.so.1");
    }

    #[test]
    fn directories_that_lists_can_name() {
        assert!(can_be_listed(b"/") && can_be_listed(b"/a/b"));
        for directory in ["/a:b", "/a b", "/a;", "/$x", "/a\nb"] {
            assert!(!can_be_listed(directory.as_bytes()), "{directory}");
        }
    }
}
