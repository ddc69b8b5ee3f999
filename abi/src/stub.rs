//! The contract between the stubs of `rt0/asm` and the loader. The stubs are assembled with [`defines`], so that numbers
//! stand in this crate alone.
//!
//! A stub is a program's `e_entry`, `slul_rt0`. It comes with a note, owner `SLUL`, type [`NT_SLUL_RT0`], whose
//! descriptor is two words, [`Rt0Note`](crate::note::Rt0Note). The first is the distance from the descriptor to the
//! program's own entry, `_start`. The loader enters that whenever there is such a note, however it was started, and never
//! `e_entry`: so no stub runs twice. The whole note stands a second time right before `slul_rt0`, in the program's text, and
//! counts first: tools remove notes, and patchelf(1) moves them, which makes distances wrong; text stays where it was linked.
//!
//! The second word is the distance from the descriptor to a function of the stub's that does nothing, or 0. The loader calls
//! it whenever its list of objects changes. Its symbol, `_dl_debug_state`, is where gdb sets its breakpoint in a program
//! without PT_INTERP (`solib_break_names` in gdb's `solib-svr4.c`), if symbols were not stripped.
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
//!   installed one if that is for the same machine and not older: [`LoaderNote`](crate::note::LoaderNote) tells. Where AT_SECURE is set that
//!   must be root's, and nobody else's to write.

use crate::arch::Arch;
use crate::note::{LOADER_VERSION, NT_SLUL_LOADER, NT_SLUL_RT0, OWNER_SIZE, PADDED_OWNER, RT0_NOTE_DESC_SIZE};

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

/// Name of the symbol that a stub is entered at, for the linker's option `-e`.
pub const ENTRY: &str = "slul_rt0";

/// What the stubs for a machine are assembled with, beside the string `SLUL_LOADER`, the path of the loader, and, for
/// `rt0-embed.o`, the string `SLUL_EMBED`, the file of the loader that it carries.
#[must_use]
pub fn defines(arch: &Arch) -> [(&'static str, u64); 11] {
    let [s, l, u, l2, ..] = PADDED_OWNER;
    [
        ("SLUL_NT_RT0", NT_SLUL_RT0.into()),
        ("SLUL_RT0_DESC_SIZE", RT0_NOTE_DESC_SIZE as u64),
        ("SLUL_NT_LOADER", NT_SLUL_LOADER.into()),
        ("SLUL_OWNER_SIZE", OWNER_SIZE.into()),
        // The table's machines are little-endian.
        ("SLUL_OWNER", u32::from_le_bytes([s, l, u, l2]).into()),
        ("SLUL_LOADER_VERSION", LOADER_VERSION.into()),
        ("SLUL_MARK", MARK.into()),
        ("SLUL_MARK_DIGITS", DIGITS.into()),
        ("SLUL_MACHINE", arch.e_machine.into()),
        ("SLUL_LARGEST_PAGE", arch.largest_page),
        ("SLUL_REFUSED", REFUSED.into()),
    ]
}

/// Exit status of a process that the loader, or a stub, refuses to run the program in (what a shell's is for a command
/// that is not found).
pub const REFUSED: u8 = 127;

#[cfg(test)]
mod tests {
    use super::{defines, descriptor_of_marker};
    use crate::arch::NATIVE;
    use crate::note::LoaderNote;

    #[test]
    fn stubs_know_the_loaders_note() {
        let note = LoaderNote::new().to_ne_bytes();
        let defined = |name: &str| defines(&NATIVE).into_iter().find(|(found, _)| *found == name).unwrap().1;
        for (at, name) in
            [(0, "SLUL_OWNER_SIZE"), (8, "SLUL_NT_LOADER"), (12, "SLUL_OWNER"), (20, "SLUL_LOADER_VERSION")]
        {
            let word = u32::from_ne_bytes(*note[at..].first_chunk().unwrap());
            assert_eq!(u64::from(word), defined(name), "{name}");
        }
    }

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
