//! The notes of owner `SLUL`: what an object says of itself to the loader, and the loader to stubs.
//!
//! An entry is three words (sizes of name and descriptor, type), the name and the descriptor, each padded to four bytes
//! (gABI, "Note Section", with the words of 32 bits that every system uses), in the byte order of its file.

/// Owner name of the note, terminating NUL included (`n_namesz` is 5).
pub const NOTE_OWNER: &[u8; 5] = b"SLUL\0";

/// [`NOTE_OWNER`] as it stands in an entry, padded.
pub const PADDED_OWNER: [u8; 8] = {
    let [s, l, u, l2, nul] = *NOTE_OWNER;
    [s, l, u, l2, nul, 0, 0, 0]
};

/// `n_namesz` of our notes.
pub const OWNER_SIZE: u32 = 5;

const _: () = assert!(NOTE_OWNER.len() == OWNER_SIZE as usize && PADDED_OWNER.len() == 8);

/// `n_type` of the ABI note.
pub const NT_SLUL_ABI: u32 = 1;

/// `n_type` of the stubs' note, the distances to the program's own entry and to a function for debuggers, see [`stub`](crate::stub).
pub const NT_SLUL_RT0: u32 = 2;

/// `n_type` of the loader's note, the loader's version, see [`LoaderNote`].
pub const NT_SLUL_LOADER: u32 = 3;

/// Size of the note's descriptor in bytes: four words of 32 bits.
pub const ABI_NOTE_DESC_SIZE: usize = 16;

/// Size of the whole entry in bytes.
pub const ABI_NOTE_SIZE: usize = 12 + PADDED_OWNER.len() + ABI_NOTE_DESC_SIZE;

/// Size of the descriptor of type [`NT_SLUL_RT0`] in bytes: two words of 32 bits.
pub const RT0_NOTE_DESC_SIZE: usize = 8;

/// Size in bytes of the whole entry of type [`NT_SLUL_RT0`].
pub const RT0_NOTE_SIZE: usize = 12 + PADDED_OWNER.len() + RT0_NOTE_DESC_SIZE;

/// Major version of the binary interface that this tree implements.
pub const ABI_MAJOR: u16 = 1;

/// Minor version of the binary interface that this tree implements.
pub const ABI_MINOR: u16 = 0;

/// Version of the loader as `min_loader` counts it: major in the upper half, minor in the lower.
pub const LOADER_VERSION: u32 = 1;

/// `e_entry` is a C function `int entry(int argc, char **argv, char **envp, const void *auxv)`; its
/// result is the exit status.
pub const FLAG_CALL_ENTRY: u32 = 1 << 0;

/// libc is brought in before the program's entry, if the program or a library may come to need it: for programs that change
/// their root directory, namespaces or filters before their first native call.
pub const FLAG_EAGER_LIBC: u32 = 1 << 1;

/// Value of DT_INIT in a program with [`FLAG_CALL_ENTRY`]: it names no function, and says the same where the note was lost,
/// because linkers make it of the symbol `_init`, which `SLUL_ABI_NOTE` defines so.
pub const CALL_ENTRY_INIT: u64 = 0;

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

    /// The whole entry, in this machine's byte order.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; ABI_NOTE_SIZE] {
        let versions = [self.abi_major, self.abi_minor].map(u16::to_ne_bytes);
        let words = [self.flags, self.min_loader, 0].map(u32::to_ne_bytes);
        let desc = versions.as_flattened().iter().chain(words.as_flattened());
        entry([OWNER_SIZE, 16, NT_SLUL_ABI], desc.copied())
    }

    /// Mandatory flags that this tree does not know.
    #[must_use]
    pub const fn unknown_flags(&self) -> u32 {
        self.flags & MANDATORY_FLAGS & !(FLAG_CALL_ENTRY | FLAG_EAGER_LIBC)
    }
}

/// Descriptor of an `NT_SLUL_RT0` note: distances in bytes from the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rt0Note {
    /// To the program's own entry.
    pub entry: i32,
    /// To the stub's function for debuggers; 0 if it has none.
    pub changed: i32,
}

impl Rt0Note {
    /// Decodes the descriptor of a note of this machine's byte order.
    #[must_use]
    pub const fn from_ne_bytes(desc: [u8; RT0_NOTE_DESC_SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h] = desc;
        Self { entry: i32::from_ne_bytes([a, b, c, d]), changed: i32::from_ne_bytes([e, f, g, h]) }
    }
}

/// An entry: sizes and type, our name, and the descriptor.
fn entry<const SIZE: usize>(words: [u32; 3], desc: impl Iterator<Item = u8>) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let words = words.map(u32::to_ne_bytes);
    let parts = words.as_flattened().iter().chain(&PADDED_OWNER).copied().chain(desc);
    bytes.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
    bytes
}

/// The entry that tells the loader's version, as it is in the loader's file.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LoaderNote {
    name_size: u32,
    desc_size: u32,
    kind: u32,
    name: [u8; 8],
    version: u32,
}

const _: () = assert!(size_of::<LoaderNote>() == 24 && align_of::<LoaderNote>() == 4);

impl LoaderNote {
    /// Of this tree's loader.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            name_size: OWNER_SIZE,
            desc_size: 4,
            kind: NT_SLUL_LOADER,
            name: PADDED_OWNER,
            version: LOADER_VERSION,
        }
    }

    /// Its bytes in the file of a loader for this machine.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; 24] {
        entry([self.name_size, self.desc_size, self.kind], self.version.to_ne_bytes().into_iter())
    }
}

impl Default for LoaderNote {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ABI_MAJOR, ABI_MINOR, AbiNote, FLAG_CALL_ENTRY, FLAG_EAGER_LIBC, LOADER_VERSION, LoaderNote, NOTE_OWNER,
    };

    #[test]
    fn words_in_the_order_of_the_contract() {
        let mut desc = [0; 16];
        desc[..2].copy_from_slice(&1u16.to_ne_bytes());
        desc[2..4].copy_from_slice(&2u16.to_ne_bytes());
        desc[4..8].copy_from_slice(&0x8000_0007u32.to_ne_bytes());
        desc[8..12].copy_from_slice(&0x1_0004u32.to_ne_bytes());
        let note = AbiNote::from_ne_bytes(desc);
        assert_eq!((note.abi_major, note.abi_minor), (1, 2));
        assert_eq!(note.flags & FLAG_CALL_ENTRY, FLAG_CALL_ENTRY);
        assert_eq!(note.flags & FLAG_EAGER_LIBC, FLAG_EAGER_LIBC);
        assert_eq!(note.unknown_flags(), 4, "the upper half may be ignored");
        assert_eq!(note.min_loader, 0x1_0004);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let note =
            AbiNote { abi_major: ABI_MAJOR, abi_minor: ABI_MINOR, flags: 0xdead_beef, min_loader: 0x7_0009 };
        let bytes = note.to_ne_bytes();
        let word = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().unwrap());
        assert_eq!([word(0), word(4), word(8)], [5, 16, 1]);
        assert_eq!(&bytes[12..17], NOTE_OWNER);
        assert_eq!(bytes[17..20], [0; 3]);
        assert_eq!(word(32), 0, "the last word is reserved");
        assert_eq!(AbiNote::from_ne_bytes(*bytes[20..].first_chunk().unwrap()), note);
    }

    #[test]
    fn the_loaders_note_is_one() {
        let bytes = LoaderNote::new().to_ne_bytes();
        let word = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().unwrap());
        assert_eq!([word(0), word(4), word(8), word(20)], [5, 4, 3, LOADER_VERSION]);
        assert_eq!(&bytes[12..17], NOTE_OWNER);
    }
}
