//! The paths to try for a DT_NEEDED name.
//!
//! The order is the contract's: DT_RPATH of the needing object and of its needers (unless the object has a DT_RUNPATH),
//! LD_LIBRARY_PATH, DT_RUNPATH of the object, then the directories of libc-free libraries; never the system's
//! directories. `secure` is an argument everywhere: nothing here has a default for it.
#![forbid(unsafe_code)]

use abi::arch::NATIVE;

use crate::base::arena::{Arena, OutOfMemory};
use crate::base::limits::PATH_MAX;

/// Where libc-free libraries are installed, after everything else.
pub const DIRECTORIES: &[u8] = NATIVE.paths.search.as_bytes();

/// The entries of a search path. LD_LIBRARY_PATH may separate them by a semicolon as well as by a colon.
///
/// A list that is empty as a whole has no entries; an empty entry of a longer list is the current directory (ld.so(8)).
#[must_use]
pub fn entries(list: &[u8], from_environment: bool) -> PathEntries<'_> {
    PathEntries { rest: (!list.is_empty()).then_some(list), from_environment }
}

/// What [`entries`] answers.
#[derive(Clone, Debug)]
pub struct PathEntries<'a> {
    /// None at the end, which an empty last entry is not.
    rest: Option<&'a [u8]>,
    from_environment: bool,
}

impl<'a> Iterator for PathEntries<'a> {
    type Item = &'a [u8];
    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let list = self.rest.take()?;
        let separates = |&byte: &u8| byte == b':' || (self.from_environment && byte == b';');
        match list.iter().position(separates).and_then(|at| list.split_at_checked(at)) {
            Some((entry, rest)) => {
                self.rest = rest.get(1..);
                Some(entry)
            }
            None => Some(list),
        }
    }
}

/// The directory part of a path, `.` if it has none.
#[must_use]
pub fn directory(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/",
        Some(slash) => path.get(..slash).unwrap_or_default(),
        None => b".",
    }
}

/// Whether a file is in one of the directories of libc-free libraries, which ld.so does not search.
#[must_use]
pub fn is_installed(path: &[u8]) -> bool {
    entries(DIRECTORIES, false).any(|ours| ours == directory(path))
}

/// Whether a DT_NEEDED name is a path, which is used as it is.
#[must_use]
pub fn is_path(name: &[u8]) -> bool {
    name.contains(&b'/')
}

/// Whether a path, or a directory of a list, depends on the current directory: it begins neither with a slash nor with
/// `$ORIGIN`. An empty directory is the current one.
#[must_use]
pub fn is_relative(entry: &[u8]) -> bool {
    let origin = entry.strip_prefix(b"$").and_then(|rest| token(rest, Some(b"ORIGIN")));
    entry.first() != Some(&b'/') && origin.is_none_or(|(_, value)| value != Some(b"ORIGIN"))
}

/// The program's path, whose directory is the value of `$ORIGIN` in it.
#[derive(Clone, Copy, Debug)]
pub enum ProgramPath<'a> {
    /// An absolute path; `None` if it is unknown, or AT_SECURE is set.
    Known(Option<&'a [u8]>),
    /// A function that asks the system for the path, and the path to use if it returns none. Few programs need the
    /// path, and asking takes longer than the rest of a short start.
    Asked(fn(&'a Arena) -> Result<Option<&'a [u8]>, OutOfMemory>, Option<&'a [u8]>),
}

impl<'a> ProgramPath<'a> {
    /// The path for later use, when the current directory may be another: one that depends on it is unknown then.
    #[must_use]
    pub fn later(self) -> Self {
        let lasting = |path: Option<&'a [u8]>| path.filter(|path| !is_relative(path));
        match self {
            Self::Known(path) => Self::Known(lasting(path)),
            Self::Asked(ask, otherwise) => Self::Asked(ask, lasting(otherwise)),
        }
    }

    /// The path, if it is known.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn get(self, arena: &'a Arena) -> Result<Option<&'a [u8]>, OutOfMemory> {
        match self {
            Self::Known(path) => Ok(path),
            Self::Asked(ask, otherwise) => Ok(ask(arena)?.or(otherwise)),
        }
    }

    /// The program's directory, if [`PathRoom::expand`] needs it for one of `texts`.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn origin_for<'t>(
        self,
        arena: &'a Arena,
        mut texts: impl Iterator<Item = &'t [u8]>,
    ) -> Result<Option<&'a [u8]>, OutOfMemory> {
        if texts.any(mentions_origin) { Ok(self.get(arena)?.map(directory)) } else { Ok(None) }
    }
}

/// The word at the start of `text`, which follows a `$`: its length, braces included, and its value, if that is known.
fn token<'t>(text: &[u8], origin: Option<&'t [u8]>) -> Option<(usize, Option<&'t [u8]>)> {
    let words: [(&[u8], Option<&'t [u8]>); 3] =
        [(b"ORIGIN", origin), (b"LIB", Some(b"lib")), (b"PLATFORM", Some(NATIVE.name.as_bytes()))];
    for (word, value) in words {
        if let Some(rest) = text.strip_prefix(b"{") {
            if rest.strip_prefix(word).is_some_and(|rest| rest.first() == Some(&b'}')) {
                return Some((word.len().saturating_add(2), value));
            }
        } else if let Some(rest) = text.strip_prefix(word) {
            // `$ORIGINAL` is not `$ORIGIN`.
            let ends = rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
            if ends {
                return Some((word.len(), value));
            }
        }
    }
    None
}

/// Whether [`PathRoom::expand`] needs the origin for this text.
#[must_use]
pub fn mentions_origin(entry: &[u8]) -> bool {
    dollars(entry).any(|is_origin| is_origin)
}

/// For every `$` of a text, whether `$ORIGIN` begins there.
pub(crate) fn dollars(entry: &[u8]) -> impl Iterator<Item = bool> {
    let after = entry.split(|&byte| byte == b'$').skip(1);
    after.map(|text| token(text, Some(b"ORIGIN")).is_some_and(|(_, value)| value == Some(b"ORIGIN")))
}

/// A search path: the text of DT_RPATH, DT_RUNPATH or LD_LIBRARY_PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchList<'a> {
    /// The text.
    pub text: &'a [u8],
    /// Whether it needs the origin: the text is read once for that, however often it is searched.
    pub mentions_origin: bool,
}

impl<'a> SearchList<'a> {
    /// The directories of the libc-free libraries, which need no origin.
    pub const INSTALLED: Self = Self { text: DIRECTORIES, mentions_origin: false };

    /// The search path of that text.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, mentions_origin: mentions_origin(text) }
    }
}

/// The search paths that an object brings with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnLists<'a> {
    /// DT_RPATH, if there is no DT_RUNPATH.
    pub rpath: Option<SearchList<'a>>,
    /// DT_RUNPATH.
    pub runpath: Option<SearchList<'a>>,
}

/// A path that is being put together. All paths that are tried are made in one piece of memory, and none of them is
/// longer than a path can be: so the memory for a search does not grow with the number or the length of what is tried.
#[derive(Debug)]
pub struct PathRoom<'a> {
    arena: &'a Arena,
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> PathRoom<'a> {
    /// An empty path, without memory yet.
    #[must_use]
    pub fn new(arena: &'a Arena) -> Self {
        Self { arena, bytes: &mut [], len: 0 }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Makes the path empty.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Shortens the path to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends `part`. `false`, with the path as it was, if it would be longer than a path can be.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn put(&mut self, part: &[u8]) -> Result<bool, OutOfMemory> {
        // Most paths are short.
        const SHORT: usize = 256;
        let end = self.len.saturating_add(part.len());
        if end >= PATH_MAX {
            return Ok(false);
        }
        if end > self.bytes.len() {
            let larger = self.arena.bytes(if end > SHORT { PATH_MAX } else { SHORT }, 1)?;
            if let Some(place) = larger.get_mut(..self.len) {
                place.copy_from_slice(self.path());
            }
            self.bytes = larger;
        }
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(part);
        }
        self.len = end;
        Ok(true)
    }

    /// Makes the path of a directory or path in which `$ORIGIN`, `$LIB` and `$PLATFORM` (with or without braces) are
    /// replaced. `false` if it must not be used: the text mentions an origin that is not known; `secure` is set and the
    /// text mentions the origin or is not an absolute path; or it is longer than a path can be.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn expand(&mut self, entry: &[u8], origin: Option<&[u8]>, secure: bool) -> Result<bool, OutOfMemory> {
        self.clear();
        if secure && (entry.first() != Some(&b'/') || mentions_origin(entry)) {
            return Ok(false);
        }
        // An empty entry is the current directory (ld.so(8)).
        let mut rest = if entry.is_empty() { b"." } else { entry };
        while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
            let (literal, tail) = rest.split_at_checked(dollar).unwrap_or((rest, b""));
            let after = tail.get(1..).unwrap_or_default();
            let (skip, value) = match token(after, origin) {
                Some((_, None)) => return Ok(false),
                Some((len, Some(value))) => (len, value),
                None => (0, &b"$"[..]),
            };
            if !self.put(literal)? || !self.put(value)? {
                return Ok(false);
            }
            rest = after.get(skip..).unwrap_or_default();
        }
        self.put(rest)
    }

    /// Places a path that does not begin with a slash below `directory`, if there is one. `false`, with the path as it was, if it
    /// would be longer than a path can be.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn place_below(&mut self, directory: Option<&[u8]>) -> Result<bool, OutOfMemory> {
        let Some(directory) = directory.filter(|_| self.path().first() != Some(&b'/')) else { return Ok(true) };
        let len = self.len;
        if !self.put(directory)? || !self.put(b"/")? {
            self.truncate(len);
            return Ok(false);
        }
        let added = self.len.wrapping_sub(len);
        self.bytes.copy_within(..len, added);
        if let Some((before, slash)) =
            self.bytes.get_mut(..added).and_then(|bytes| bytes.split_at_mut_checked(directory.len()))
        {
            before.copy_from_slice(directory);
            slash.copy_from_slice(b"/");
        }
        Ok(true)
    }

    /// Appends a slash and `name`. `false` if the path would be longer than a path can be.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn enter(&mut self, name: &[u8]) -> Result<bool, OutOfMemory> {
        Ok(self.put(b"/")? && self.put(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{PathRoom, directory, entries, is_relative, mentions_origin};
    use crate::base::arena::Arena;
    use crate::base::limits::PATH_MAX;

    use std::format;
    use std::string::String;

    fn expanded(entry: &str, origin: Option<&str>, secure: bool) -> Option<String> {
        let arena = Arena::new(crate::os::testing::leaking());
        let mut room = PathRoom::new(&arena);
        let usable = room.expand(entry.as_bytes(), origin.map(str::as_bytes), secure).unwrap();
        usable.then(|| String::from_utf8(room.path().to_vec()).unwrap())
    }

    #[test]
    fn no_path_is_longer_than_a_path_can_be() {
        let longest = "/a".repeat((PATH_MAX - 2) / 2);
        assert_eq!(expanded(&longest, None, false), Some(longest.clone()));
        for entry in [format!("{longest}/a"), format!("{longest}$LIB"), "$".repeat(PATH_MAX)] {
            assert_eq!(expanded(&entry, None, false), None);
        }
        let arena = Arena::new(crate::os::testing::leaking());
        let mut room = PathRoom::new(&arena);
        assert!(room.expand(longest.as_bytes(), None, false).unwrap() && !room.enter(b"x").unwrap());
        assert!(room.expand(b"/d", None, false).unwrap() && room.enter(b"x").unwrap());
        assert_eq!(room.path(), b"/d/x");
    }

    #[test]
    fn tokens() {
        let origin = Some("/opt/x");
        for (entry, path) in [
            ("$ORIGIN/lib", "/opt/x/lib"),
            ("${ORIGIN}lib", "/opt/xlib"),
            ("$ORIGINAL", "$ORIGINAL"),
            ("/a/$LIB/$PLATFORM", "/a/lib/x86_64"),
            ("$", "$"),
            ("/a$$ORIGIN", "/a$/opt/x"),
            ("${ORIGIN", "${ORIGIN"),
            ("", "."),
        ] {
            assert_eq!(expanded(entry, origin, false).as_deref(), Some(path), "{entry}");
        }
        assert_eq!(expanded("$ORIGIN", None, false), None);
        assert!(mentions_origin(b"/x/${ORIGIN}/y") && !mentions_origin(b"/x/$LIB/$ORIGINAL"));
    }

    #[test]
    fn paths_that_depend_on_the_current_directory() {
        for entry in ["", ".", "lib", "../x", "$LIB/x", "$ORIGINAL/x", "x/$ORIGIN"] {
            assert!(is_relative(entry.as_bytes()), "{entry}");
        }
        for entry in ["/", "/x", "$ORIGIN", "$ORIGIN/../lib", "${ORIGIN}/x"] {
            assert!(!is_relative(entry.as_bytes()), "{entry}");
        }
    }

    #[test]
    fn secure_follows_absolute_paths_only() {
        for entry in ["", "lib", "./lib", "$ORIGIN/lib", "/x/$ORIGIN", "/x/${ORIGIN}"] {
            assert_eq!(expanded(entry, Some("/opt"), true), None, "{entry}");
        }
        assert_eq!(expanded("/usr/lib/slul/$PLATFORM", None, true).as_deref(), Some("/usr/lib/slul/x86_64"));
    }

    #[test]
    fn lists_and_directories() {
        assert_eq!(entries(b"a:b;c", false).count(), 2);
        assert_eq!(entries(b"", false).count(), 0, "the current directory is not meant");
        assert_eq!(entries(b":", false).count(), 2);
        assert_eq!(entries(b"a:b;c::", true).count(), 5);
        assert_eq!(directory(b"/a/b"), b"/a");
        assert_eq!(directory(b"/b"), b"/");
        assert_eq!(directory(b"b"), b".");
    }
}
