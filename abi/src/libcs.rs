//! The system's libcs, by the names that paths and DT_NEEDED have for them.

/// A libc that can be brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library.
    Gnu,
    /// musl.
    Musl,
}

impl Libc {
    /// Both, the one that is preferred where nothing decides first.
    pub const ALL: [Self; 2] = [Self::Gnu, Self::Musl];

    /// `<libc>` in the names of installed files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Musl => "musl",
        }
    }
}
