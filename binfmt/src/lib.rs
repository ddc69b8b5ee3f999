//! The entries of binfmt_misc for SLUL binaries, in the formats of the kernel, systemd and Debian.
//!
//! | entry | matches | flags |
//! |---|---|---|
//! | `slul` | ELF files of this machine with the marker in `e_flags` | `POF`; `POCF` by an administrator's choice |
//! | `slulb` | names that end in `.slulb` | `PF` |
//!
//! `P`: the kernel keeps the program's argv[0]; the handler's own name says so, because kernels before Linux 5.12 do
//! not. `F`: the kernel opens the handler at registration, so that it also works in containers. `O`: the kernel opens
//! the program, also if its user may not read it. `C`: a set-id program gets its privileges, under this loader; never by
//! extension, because any user can give a set-id program such a name by a link.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use abi::arch::{Arch, NATIVE};
use abi::marker::{self, EXTENSION, MARKER};
use abi::paths::BINFMT_HANDLER;

/// Whether a set-id program gets its privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It runs with the privileges of the user who executes it.
    OfCaller,
    /// It runs with the privileges of its set-id bits.
    OfProgram,
}

/// An entry of binfmt_misc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// ELF files of this machine with the marker.
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
            Self::Extension => EXTENSION,
        }
    }

    /// The line for the kernel's file `register`, and for systemd's configuration (binfmt.d(5)).
    #[must_use]
    pub fn registration(self, handler: &str) -> String {
        let name = self.name();
        match self {
            Self::Magic(credentials) => {
                let flags = match credentials {
                    Credentials::OfCaller => "POF",
                    Credentials::OfProgram => "POCF",
                };
                let (magic, mask) = magic(&NATIVE);
                format!(":{name}:M:0:{}:{}:{handler}:{flags}", escaped(&magic), escaped(&mask))
            }
            Self::Extension => format!(":{name}:E::{EXTENSION}::{handler}:PF"),
        }
    }

    /// The file that Debian's update-binfmts(8) imports. That has no flag `O` without `C`.
    #[must_use]
    pub fn debian(self) -> String {
        let what = match self {
            Self::Magic(_) => {
                let (magic, mask) = magic(&NATIVE);
                format!("magic {}\nmask {}\n", escaped(&magic), escaped(&mask))
            }
            Self::Extension => format!("extension {EXTENSION}\n"),
        };
        let credentials = match self {
            Self::Magic(Credentials::OfProgram) => "yes",
            _ => "no",
        };
        format!(
            "package slulrtld\ninterpreter {BINFMT_HANDLER}\n{what}credentials {credentials}\npreserve yes\nfix_binary yes\n"
        )
    }
}

/// The file that systemd-binfmt(8) reads.
#[must_use]
pub fn systemd() -> String {
    let lines =
        [Entry::Magic(Credentials::OfCaller), Entry::Extension].map(|entry| entry.registration(BINFMT_HANDLER));
    format!(
        "# Programs for slulrtld, see binfmt.d(5). Set-id bits are ignored: the flag C is not given.\n{}\n",
        lines.join("\n")
    )
}

/// The first bytes of an executable of that machine with the marker, and a mask of the bits that count. 52 bytes are a
/// whole ELF32 header, or an ELF64 header up to the end of `e_flags`.
fn magic(arch: &Arch) -> ([u8; 52], [u8; 52]) {
    let (mut magic, mut mask) = ([0; 52], [0; 52]);
    let ident = [0x7f, b'E', b'L', b'F', arch.class as u8, arch.byte_order as u8, 1];
    let known: [(usize, &[u8], &[u8]); 4] = [
        (0, &ident, &[0xff; 7]),
        // ET_EXEC (2) or ET_DYN (3), and e_machine, of little-endian files.
        (16, &[2, 0], &[0xfe, 0xff]),
        (18, &arch.e_machine.to_le_bytes(), &[0xff; 2]),
        (marker::offset(arch.class, arch.byte_order), &[MARKER], &[0xff]),
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
    use super::{Credentials, Entry, magic};
    use abi::arch::{ALL, NATIVE};
    use abi::marker::{self, MARKER};
    use abi::paths::BINFMT_HANDLER;

    #[test]
    fn only_what_is_marked_matches() {
        let (magic, mask) = magic(&NATIVE);
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let matches =
            |file: &[u8]| file.iter().zip(mask).zip(magic).all(|((byte, mask), magic)| byte & mask == magic);
        assert!(!matches(&this));
        let mut marked = this;
        marked[marker::offset(NATIVE.class, NATIVE.byte_order)] = MARKER;
        assert!(matches(&marked));
        for other in ALL.iter().filter(|arch| **arch != NATIVE) {
            marked[18..20].copy_from_slice(&other.e_machine.to_le_bytes());
            assert!(!matches(&marked), "{}", other.name);
        }
    }

    #[test]
    fn registrations_fit_the_kernel() {
        for entry in [Entry::Magic(Credentials::OfProgram), Entry::Extension] {
            assert!(entry.registration(BINFMT_HANDLER).len() < 1920);
        }
        assert!(Entry::Magic(Credentials::OfCaller).registration(BINFMT_HANDLER).ends_with("-binfmt-P:POF"));
        assert_eq!(Entry::Extension.registration("/x"), ":slulb:E::slulb::/x:PF");
    }
}
