//! What a SLUL binary and its loader agree on.
//!
//! | what | where |
//! |---|---|
//! | the ABI note of programs and libraries | [`AbiNote`] |
//! | the stubs that bring the loader in where no PT_INTERP does: `rt0.o`, `rt0-map.o`, `rt0-embed.o` | [`stub`], `asm` |
//! | the C interface | `include/slul.h` |
//!
//! Everything in this crate may end up inside users' binaries, hence its licence (`0BSD OR MIT OR Apache-2.0`) and the
//! absence of dependencies.
#![no_std]
#![forbid(unsafe_code)]

pub mod stub;

/// Owner name of the note, terminating NUL included (`n_namesz` is 5).
pub const NOTE_OWNER: &[u8; 5] = b"SLUL\0";

/// `n_type` of the ABI note.
pub const NT_SLUL_ABI: u32 = 1;

/// `n_type` of the stubs' note, see [`stub`].
pub const NT_SLUL_RT0: u32 = 2;

/// `n_type` of the loader's note, see [`stub::LoaderNote`].
pub const NT_SLUL_LOADER: u32 = 3;

/// Size of the note's descriptor in bytes: four words of 32 bits.
pub const ABI_NOTE_DESC_SIZE: usize = 16;

/// Major version of the binary interface that this tree implements.
pub const ABI_MAJOR: u16 = 1;

/// Minor version of the binary interface that this tree implements.
pub const ABI_MINOR: u16 = 0;

/// Version of the loader as `min_loader` counts it: major in the upper half, minor in the lower.
pub const LOADER_VERSION: u32 = 1;

/// `e_entry` is a C function `int entry(int argc, char **argv, char **envp, const void *auxv)`; its
/// result is the exit status.
pub const FLAG_CALL_ENTRY: u32 = 1 << 0;

/// Flags in this half of the word must be understood by the loader; those in the upper half may be ignored.
pub const MANDATORY_FLAGS: u32 = 0x0000_ffff;

/// Descriptor of an `NT_SLUL_ABI` note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbiNote {
    /// Major version of the interface that the binary was made for.
    pub abi_major: u16,
    /// Minor version of the interface that the binary was made for.
    pub abi_minor: u16,
    /// `FLAG_*`.
    pub flags: u32,
    /// Oldest loader that can run the binary (major << 16 | minor).
    pub min_loader: u32,
}

impl AbiNote {
    /// Decodes the descriptor of a note of this machine's byte order.
    #[must_use]
    pub const fn from_ne_bytes(desc: [u8; ABI_NOTE_DESC_SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = desc;
        Self {
            abi_major: u16::from_ne_bytes([a, b]),
            abi_minor: u16::from_ne_bytes([c, d]),
            flags: u32::from_ne_bytes([e, f, g, h]),
            min_loader: u32::from_ne_bytes([i, j, k, l]),
        }
    }

    /// Mandatory flags that this tree does not know.
    #[must_use]
    pub const fn unknown_flags(&self) -> u32 {
        self.flags & MANDATORY_FLAGS & !FLAG_CALL_ENTRY
    }
}

#[cfg(test)]
mod tests {
    use super::{AbiNote, FLAG_CALL_ENTRY};

    #[test]
    fn words_in_the_order_of_the_contract() {
        let mut desc = [0; 16];
        desc[..2].copy_from_slice(&1u16.to_ne_bytes());
        desc[2..4].copy_from_slice(&2u16.to_ne_bytes());
        desc[4..8].copy_from_slice(&0x8000_0003u32.to_ne_bytes());
        desc[8..12].copy_from_slice(&0x1_0004u32.to_ne_bytes());
        let note = AbiNote::from_ne_bytes(desc);
        assert_eq!((note.abi_major, note.abi_minor), (1, 2));
        assert_eq!(note.flags & FLAG_CALL_ENTRY, FLAG_CALL_ENTRY);
        assert_eq!(note.unknown_flags(), 2, "the upper half may be ignored");
        assert_eq!(note.min_loader, 0x1_0004);
    }
}
