//! The contract between the stubs of `asm` and the loader. The stubs are assembled with [`DEFINES`], so that numbers
//! stand here alone.
//!
//! A stub is a program's `e_entry`, `slul_rt0`. It comes with a note, owner `SLUL`, type [`NT_SLUL_RT0`], whose
//! descriptor of four bytes is the distance from the descriptor to the program's own entry, `_start`. The loader enters
//! that whenever there is such a note, however it was started, and never `e_entry`: so no stub runs twice.
//!
//! * **`rt0.o`** executes the installed loader. The loader's argv is a marker, then the program's argv, unchanged; its
//!   environment is the program's. The marker (`@000003`) tells the descriptor that the program's file is open as,
//!   which the loader closes. The stub opens `/proc/self/exe`, or, without /proc and without AT_SECURE, AT_EXECFN.
//!   Executed by the loader's own path, it refuses: a program with a stub in the loader's place is no loader.
//! * **`rt0-map.o`** maps the installed loader: the whole file, readable and executable, and then what its PT_LOADs
//!   with PF_W hold, if there are any, readable and writable. So in a loader every offset in the file is the address, and
//!   no PT_LOAD is larger in memory than in the file. The stub writes the loader's address to AT_BASE and jumps to its `e_entry`,
//!   with everything else as the kernel left it: to the loader, and to the program, that is a start by PT_INTERP.
//! * **`rt0-embed.o`** is the same with a loader of its own, a copy of its file in the program's text. It takes the
//!   installed one if that is for the same machine and not older: [`LoaderNote`] tells. Where AT_SECURE is set that
//!   must be root's, and nobody else's to write.

use crate::{LOADER_VERSION, NOTE_OWNER, NT_SLUL_LOADER, NT_SLUL_RT0};

/// The loader's version, in a note of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LoaderNote {
    name_size: u32,
    desc_size: u32,
    kind: u32,
    name: [u8; 8],
    version: u32,
}

impl LoaderNote {
    /// Of this tree's loader.
    #[must_use]
    pub const fn new() -> Self {
        let [s, l, u, l2, nul] = *NOTE_OWNER;
        Self {
            name_size: 5,
            desc_size: 4,
            kind: NT_SLUL_LOADER,
            name: [s, l, u, l2, nul, 0, 0, 0],
            version: LOADER_VERSION,
        }
    }

    /// As it stands in the loader's file.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let words = [self.name_size, self.desc_size, self.kind].map(u32::to_ne_bytes);
        let parts = words.as_flattened().iter().chain(&self.name).copied().chain(self.version.to_ne_bytes());
        bytes.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        bytes
    }
}

impl Default for LoaderNote {
    fn default() -> Self {
        Self::new()
    }
}

/// What a marker begins with. The descriptor follows, in hexadecimal digits.
pub const MARK: u8 = b'@';

/// How many digits follow. With its NUL the marker is a word, so that a stub writes it and the pointer to it at once.
pub const DIGITS: u32 = 6;

/// The descriptor that a marker tells; `None` if the argument is none.
#[must_use]
pub fn descriptor_of_marker(argument: &[u8]) -> Option<u32> {
    let [MARK, digits @ ..] = argument else { return None };
    if digits.len() != DIGITS as usize {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.iter().try_fold(0u32, |value, &byte| Some(value << 4 | digit(byte)?))
}

/// End of the name of a binfmt_misc handler that is registered with the flag `P`: its arguments are its own name, the
/// program's path, and the program's argv. From Linux 5.12 on AT_FLAGS says so, too.
pub const KEEPS_ARGV0: &[u8] = b"-binfmt-P";

/// What the stubs are assembled with, beside the string `SLUL_LOADER`, the path of the loader, and, for `rt0-embed.o`,
/// the string `SLUL_EMBED`, the file of the loader that it carries.
pub const DEFINES: [(&str, u32); 5] = [
    ("SLUL_NT_RT0", NT_SLUL_RT0),
    ("SLUL_NT_LOADER", NT_SLUL_LOADER),
    ("SLUL_LOADER_VERSION", LOADER_VERSION),
    ("SLUL_MARK", MARK as u32),
    ("SLUL_MARK_DIGITS", DIGITS),
];

#[cfg(test)]
mod tests {
    use super::descriptor_of_marker;

    #[test]
    fn markers_tell_descriptors() {
        for (argument, descriptor) in [("@00001f", 0x1f), ("@000000", 0), ("@abcdef", 0xab_cdef)] {
            assert_eq!(descriptor_of_marker(argument.as_bytes()), Some(descriptor));
        }
        for argument in ["", "@", "@00001", "@0000001", "@00000g", "x000001"] {
            assert_eq!(descriptor_of_marker(argument.as_bytes()), None, "{argument}");
        }
    }
}
