//! The system's libcs on the machine that this is compiled for: their interpreters, sonames and files.

use crate::arch::NATIVE;
use crate::libcs::Libc;

impl Libc {
    /// Path of its ld.so on this machine.
    #[must_use]
    pub const fn interpreter(self) -> &'static str {
        NATIVE.interpreter(self)
    }

    /// Where this machine's `slulrtld-using-libc` of it is installed.
    #[must_use]
    pub const fn loader_using_it(self) -> &'static str {
        NATIVE.paths.using_libc(self)
    }

    /// The libc that a DT_NEEDED names, if it names one or a part of one.
    #[must_use]
    pub fn named_by(needed: &[u8]) -> Option<Self> {
        if GNU_SONAMES.contains(&needed) {
            return Some(Self::Gnu);
        }
        let musl = needed == MUSL_SONAME || MUSL_PREFIXES.iter().any(|prefix| needed.starts_with(prefix));
        musl.then_some(Self::Musl)
    }
}

/// The soname of musl on Debian and by itself.
pub const MUSL_SONAME: &[u8] = b"libc.so";

/// The beginnings of musl's other names. Alpine calls it `libc.musl-<arch>.so.1`.
pub const MUSL_PREFIXES: [&[u8]; 2] = [b"libc.musl-", b"ld-musl-"];

/// Sonames of the GNU C library's own shared objects. musl's ld.so takes those that matter for itself.
pub const GNU_SONAMES: [&[u8]; 11] = [
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
    file_name(Libc::Gnu.interpreter().as_bytes()),
];

/// What follows the last slash of a path.
const fn file_name(path: &[u8]) -> &[u8] {
    let mut rest = path;
    let mut name = path;
    while let [byte, after @ ..] = rest {
        if *byte == b'/' {
            name = after;
        }
        rest = after;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Libc, file_name};
    use crate::arch::NATIVE;

    #[test]
    fn libcs_by_what_needs_them() {
        assert_eq!(Libc::named_by(b"libc.so.6"), Some(Libc::Gnu));
        assert_eq!(Libc::named_by(b"libm.so.6"), Some(Libc::Gnu));
        assert_eq!(Libc::named_by(b"libc.so"), Some(Libc::Musl));
        assert_eq!(Libc::named_by(b"libc.musl-x86_64.so.1"), Some(Libc::Musl));
        assert_eq!(Libc::named_by(b"libz.so.1"), None);
        assert_eq!(Libc::named_by(b"libc.so.60"), None);
        for libc in Libc::ALL {
            assert_eq!(Libc::named_by(file_name(libc.interpreter().as_bytes())), Some(libc));
        }
    }

    #[test]
    fn file_names_follow_the_last_slash() {
        assert_eq!(file_name(b"/a/b"), b"b");
        assert_eq!(file_name(b"b"), b"b");
        assert_eq!(file_name(b"/a/"), b"");
        let using: [&str; 2] = Libc::ALL.map(Libc::loader_using_it);
        assert!(using.iter().zip(Libc::ALL).all(|(path, libc)| path.ends_with(libc.name())));
        assert!(using.iter().all(|path| path.contains(NATIVE.name)));
    }
}
