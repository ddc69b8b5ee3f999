//! What the loader knows of the libcs that it brings in, as plain data.
//!
//! The *template* is the executable that the system's ld.so believes it is starting. It is synthesised in
//! memory for each program (`rtld::native::template`); here is what does not depend on the program: which
//! libcs there are and how they are told apart, what the template imports for the loader's own use, and
//! what may never pass between the two worlds.
#![no_std]
#![forbid(unsafe_code)]

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

    /// Path of its ld.so, which its psABI fixes.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub const fn interpreter(self) -> &'static str {
        match self {
            Self::Gnu => "/lib64/ld-linux-x86-64.so.2",
            Self::Musl => "/lib/ld-musl-x86_64.so.1",
        }
    }

    /// Short name, as in `slulrtld-using-libc-<arch>-<libc>`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Musl => "musl",
        }
    }

    /// The libc that a DT_NEEDED names, if it names one or a part of one.
    #[must_use]
    pub fn named_by(needed: &[u8]) -> Option<Self> {
        if GNU_SONAMES.contains(&needed) {
            return Some(Self::Gnu);
        }
        // Alpine calls it libc.musl-<arch>.so.1, Debian and musl itself libc.so.
        let musl = needed == b"libc.so" || needed.starts_with(b"libc.musl-") || needed.starts_with(b"ld-musl-");
        musl.then_some(Self::Musl)
    }
}

/// Sonames of the GNU C library's own shared objects. musl's ld.so takes those that matter for itself.
const GNU_SONAMES: [&[u8]; 11] = [
    b"libc.so.6",
    b"libm.so.6",
    b"libdl.so.2",
    b"libpthread.so.0",
    b"librt.so.1",
    b"libutil.so.1",
    b"libresolv.so.2",
    b"libanl.so.1",
    b"libmvec.so.1",
    b"libnsl.so.1",
    b"ld-linux-x86-64.so.2",
];

/// In DT_NEEDED it stands for whichever libc the machine and the other natives use.
pub const LIBC_SONAME: &[u8] = b"libc.so.6";

/// Needed besides [`LIBC_SONAME`] where glibc is older than 2.34, which merged them into it.
pub const SPLIT_GLIBC_SONAMES: [&[u8]; 2] = [b"libpthread.so.0", b"libdl.so.2"];

/// Version that glibc's ld.so defines since it was merged (2.34).
pub const MERGED_GLIBC_VERSION: &[u8] = b"GLIBC_2.34";

/// What the loader itself imports from libc, in the order of its table. All are weak and unversioned: of
/// each, any version serves.
pub const LOADER_IMPORTS: [&[u8]; 3] = [b"__libc_start_main", b"exit", b"__cxa_atexit"];

/// Variables that make ld.so do something other than start the program; masked in the environment that it
/// sees until the program's libraries are bound. Prefixes of `NAME=value` strings.
pub const MASKED_VARIABLES: [&[u8]; 3] = [b"LD_SHOW_AUXV=", b"LD_TRACE_LOADED_OBJECTS=", b"LD_DEBUG=help"];

/// Never offered to libc, whoever defines them: it has its own, and must use it.
pub const NEVER_EXPORTED: [&[u8]; 9] = [
    b"__tls_get_addr",
    b"dl_iterate_phdr",
    b"_r_debug",
    b"memcpy",
    b"memmove",
    b"memset",
    b"memcmp",
    b"bcmp",
    b"strlen",
];

#[cfg(test)]
mod tests {
    use super::Libc;

    #[test]
    fn libcs_by_what_needs_them() {
        assert_eq!(Libc::named_by(b"libc.so.6"), Some(Libc::Gnu));
        assert_eq!(Libc::named_by(b"libm.so.6"), Some(Libc::Gnu));
        assert_eq!(Libc::named_by(b"libc.so"), Some(Libc::Musl));
        assert_eq!(Libc::named_by(b"libc.musl-x86_64.so.1"), Some(Libc::Musl));
        assert_eq!(Libc::named_by(b"libz.so.1"), None);
        assert_eq!(Libc::named_by(b"libc.so.60"), None);
    }
}
