//! How binfmt_misc tells a SLUL binary from any other file, and what is registered for it.
//!
//! | entry | matches | flags |
//! |---|---|---|
//! | `slul` | ELF files of this machine with the marker in `e_flags` | `POF`; `POCF` by an administrator's choice |
//! | `slulb` | names that end in `.slulb` | `PF` |
//!
//! `P`: the program's argv[0] is kept; the handler's name says so where the kernel (before Linux 5.12) does not. `F`:
//! the handler is opened when it is registered, so that it is there in containers, too. `O`: the kernel opens the
//! program, also where its user may not read it. `C`: a set-id program gets its privileges, under this loader. Never by
//! extension: any set-id program could be given such a name by a link.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// Top byte of `e_flags` in files meant for a binfmt_misc handler.
///
/// `strip`, `objcopy` and `patchelf` keep it and glibc, musl and the kernel ignore it (tried); linkers drop
/// it, so it is set after linking.
pub const MARKER: u8 = 0x53;

/// Offset in bytes of the marker in a little-endian ELF file of the given class (1 or 2).
#[must_use]
pub const fn marker_offset(class: u8) -> Option<usize> {
    match class {
        1 => Some(0x24 + 3),
        2 => Some(0x30 + 3),
        _ => None,
    }
}

/// `e_machine` of the machine that the loader is for: EM_X86_64.
const E_MACHINE: [u8; 2] = [62, 0];

/// The handler, as installed: the loader, by a name that ends in [`rt0::stub::KEEPS_ARGV0`].
pub const HANDLER: &str = "/usr/libexec/slul/slulrtld-binfmt-P";

/// Extension of programs that carry no marker.
pub const EXTENSION: &str = "slulb";

/// Whether a set-id program gets its privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It does not: it runs as whoever executes it.
    OfCaller,
    /// It does.
    OfProgram,
}

/// An entry of binfmt_misc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Marked ELF files.
    Magic(Credentials),
    /// Files by extension.
    Extension,
}

impl Entry {
    /// Its name in the directory of binfmt_misc.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Magic(_) => "slul",
            Self::Extension => "slulb",
        }
    }

    /// What is written to `register`, and stands in systemd's file.
    #[must_use]
    pub fn registration(self, handler: &str) -> String {
        let name = self.name();
        match self {
            Self::Magic(credentials) => {
                let flags = match credentials {
                    Credentials::OfCaller => "POF",
                    Credentials::OfProgram => "POCF",
                };
                let (magic, mask) = magic();
                format!(":{name}:M:0:{}:{}:{handler}:{flags}", escaped(&magic), escaped(&mask))
            }
            Self::Extension => format!(":{name}:E::{EXTENSION}::{handler}:PF"),
        }
    }

    /// What update-binfmts(8) of Debian imports. It knows no flag `O` without `C`.
    #[must_use]
    pub fn debian(self) -> String {
        let what = match self {
            Self::Magic(_) => {
                let (magic, mask) = magic();
                format!("magic {}\nmask {}\n", escaped(&magic), escaped(&mask))
            }
            Self::Extension => format!("extension {EXTENSION}\n"),
        };
        let credentials = match self {
            Self::Magic(Credentials::OfProgram) => "yes",
            _ => "no",
        };
        format!(
            "package slulrtld\ninterpreter {HANDLER}\n{what}credentials {credentials}\npreserve yes\nfix_binary yes\n"
        )
    }
}

/// `/usr/lib/binfmt.d/slul.conf`.
#[must_use]
pub fn systemd() -> String {
    let lines = [Entry::Magic(Credentials::OfCaller), Entry::Extension].map(|entry| entry.registration(HANDLER));
    format!(
        "# Programs for slulrtld, see binfmt.d(5). Set-id bits are ignored: the flag C is not given.\n{}\n",
        lines.join("\n")
    )
}

/// First bytes of a file and which of their bits count: a little-endian ELF64 executable for this machine, with the
/// marker.
fn magic() -> ([u8; 52], [u8; 52]) {
    let (mut magic, mut mask) = ([0; 52], [0; 52]);
    let known: [(usize, &[u8], &[u8]); 4] = [
        (0, b"\x7fELF\x02\x01\x01", &[0xff; 7]),
        // ET_EXEC (2) or ET_DYN (3).
        (16, &[2, 0], &[0xfe, 0xff]),
        (18, &E_MACHINE, &[0xff; 2]),
        (0x33, &[MARKER], &[0xff]),
    ];
    for (offset, bytes, bits) in known {
        for (index, (byte, bit)) in (offset..).zip(bytes.iter().zip(bits)) {
            if let (Some(place), Some(counts)) = (magic.get_mut(index), mask.get_mut(index)) {
                (*place, *counts) = (*byte, *bit);
            }
        }
    }
    (magic, mask)
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "\\x{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Entry, HANDLER, MARKER, magic, marker_offset};

    #[test]
    fn marker_is_the_top_byte_of_e_flags() {
        let mut elf64 = [0u8; 64];
        elf64[marker_offset(2).unwrap()] = MARKER;
        let flags = u32::from_le_bytes(elf64[48..52].try_into().unwrap());
        assert_eq!(flags >> 24, u32::from(MARKER));
        assert_eq!(marker_offset(3), None);
    }

    #[test]
    fn only_what_is_marked_matches() {
        let (magic, mask) = magic();
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let matches =
            |file: &[u8]| file.iter().zip(mask).zip(magic).all(|((byte, mask), magic)| byte & mask == magic);
        assert!(!matches(&this));
        let mut marked = this;
        marked[marker_offset(2).unwrap()] = MARKER;
        assert!(matches(&marked));
        marked[18] = 183;
        assert!(!matches(&marked), "another machine");
    }

    #[test]
    fn registrations_fit_the_kernel() {
        for entry in [Entry::Magic(Credentials::OfProgram), Entry::Extension] {
            assert!(entry.registration(HANDLER).len() < 1920);
        }
        assert!(Entry::Magic(Credentials::OfCaller).registration(HANDLER).ends_with("-binfmt-P:POF"));
        assert_eq!(Entry::Extension.registration("/x"), ":slulb:E::slulb::/x:PF");
        assert!(HANDLER.as_bytes().ends_with(rt0::stub::KEEPS_ARGV0));
    }
}
