//! Lines of text in a fixed buffer: error messages, and the trace of LD_SLUL_DEBUG.
#![forbid(unsafe_code)]

use crate::base::text::{Sink, Text};
use crate::words;

/// Longest line in bytes, newline included. Longer text is cut.
pub const LINE: usize = 1024;

/// A line being formatted: prefix, text, newline.
#[derive(Debug)]
pub struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Line {
    /// A line of `slulrtld: ` and the text.
    #[must_use]
    pub fn new(text: &dyn Text) -> Self {
        Self::of(words!("slulrtld: "), text)
    }

    /// A line of the text alone.
    #[must_use]
    pub fn bare(text: &dyn Text) -> Self {
        Self::of(words!(""), text)
    }

    fn of(prefix: &dyn Text, text: &dyn Text) -> Self {
        let mut line = Self { bytes: [0; LINE], len: 0 };
        prefix.write(&mut line);
        text.write(&mut line);
        line
    }

    /// The bytes of the text, without a newline.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.len.min(LINE.saturating_sub(1))).unwrap_or_default()
    }

    /// The bytes, ending in one newline.
    #[must_use]
    pub fn as_bytes(&mut self) -> &[u8] {
        let len = self.len.min(LINE.saturating_sub(1));
        if let Some(end) = self.bytes.get_mut(len) {
            *end = b'\n';
        }
        self.bytes.get(..len.wrapping_add(1)).unwrap_or_default()
    }
}

impl Sink for Line {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let taken = bytes.len().min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..taken), bytes.get(..taken)) {
            room.copy_from_slice(bytes);
        }
        self.len = self.len.saturating_add(taken);
    }
}

/// Subjects of LD_SLUL_DEBUG, one bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Category {
    /// Objects as they are opened, mapped and judged.
    Files = 1,
    /// The search for a DT_NEEDED name.
    Libs = 2,
    /// Bringing libc in.
    Libc = 4,
    /// Durations of the phases.
    Timings = 8,
    /// Number of relocations of each object.
    Reloc = 16,
    /// The binding of each reference.
    Bindings = 32,
    /// Thread-local storage.
    Threads = 64,
}

impl Category {
    /// All subjects, with their words in LD_SLUL_DEBUG.
    pub const ALL: [(&'static [u8], Self); 7] = [
        (b"files", Self::Files),
        (b"libs", Self::Libs),
        (b"reloc", Self::Reloc),
        (b"bindings", Self::Bindings),
        (b"libc", Self::Libc),
        (b"threads", Self::Threads),
        (b"timings", Self::Timings),
    ];

    /// Description of the subject in the help of LD_SLUL_DEBUG.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Files => "objects as they are opened, mapped, judged and closed",
            Self::Libs => "where a library is searched for",
            Self::Reloc => "how much there is to relocate in each object",
            Self::Bindings => "what each reference is bound to",
            Self::Libc => "bringing libc in: why at the start, what its ld.so is shown",
            Self::Threads => "thread-local storage",
            Self::Timings => "how long the phases took",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Libs => "libs",
            Self::Libc => "libc",
            Self::Timings => "timings",
            Self::Reloc => "reloc",
            Self::Bindings => "bindings",
            Self::Threads => "threads",
        }
    }
}

/// The words in a value of LD_SLUL_DEBUG, separated by commas, colons or spaces.
pub fn subjects(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| matches!(byte, b',' | b':' | b' ')).filter(|word| !word.is_empty())
}

/// The output of trace lines, and the subjects that are traced.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    wanted: u8,
    write: fn(&[u8]),
}

impl Trace {
    /// A trace without any subject.
    pub const OFF: Self = Self { wanted: 0, write: |_| {} };

    /// A trace of the subjects in a value of LD_SLUL_DEBUG. Unknown words are ignored; glibc ignores those of LD_DEBUG
    /// too, after a warning.
    #[must_use]
    pub fn parse(value: &[u8], write: fn(&[u8])) -> Self {
        let mut wanted = 0;
        for word in subjects(value) {
            for (name, category) in Category::ALL {
                if word == name || word == b"all" {
                    wanted |= category as u8;
                }
            }
        }
        Self { wanted, write }
    }

    /// Whether the subject is traced.
    #[must_use]
    pub const fn wants(&self, category: Category) -> bool {
        self.wanted & category as u8 != 0
    }

    /// Writes one line, if its subject is traced.
    pub fn line(&self, category: Category, text: &dyn Text) {
        if self.wants(category) {
            (self.write)(Line::of(words!("slulrtld: {}: ", category.word()), text).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Category, LINE, Line, Trace};
    use crate::words;

    #[test]
    fn long_lines_are_cut_and_still_end() {
        let long = "x".repeat(2 * LINE);
        let mut line = Line::new(words!("{}", long.as_str()));
        assert_eq!(line.as_bytes().len(), LINE);
        assert_eq!(line.as_bytes().last(), Some(&b'\n'));
        assert_eq!(Line::new(words!("a: {}", 7u32)).as_bytes(), b"slulrtld: a: 7\n");
    }

    #[test]
    fn categories_by_word() {
        let trace = Trace::parse(b"libs,nonsense:libc", |_| {});
        assert!(trace.wants(Category::Libs) && trace.wants(Category::Libc));
        assert!(!trace.wants(Category::Files) && !trace.wants(Category::Timings));
        assert!(Category::ALL.iter().all(|&(_, category)| Trace::parse(b"all", |_| {}).wants(category)));
    }
}
