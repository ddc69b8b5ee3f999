//! The system's libcs, by the names that paths and DT_NEEDED have for them.

/// Beginning of the variable in which the loader passes one to `slulrtld-using-libc` that ld.so must not act on there, because it
/// asks for something else than a start. What follows is the variable, which the program gets in its place.
pub const PASSED: &[u8] = b"LD_SLUL_PASSED=";

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
