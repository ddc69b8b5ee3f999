//! Files that binfmt_misc hands to the loader: the marker by which it knows them, and what the handler is called.

use crate::arch::{ByteOrder, Class};

/// Top byte of `e_flags` in files meant for a binfmt_misc handler.
///
/// `strip`, `objcopy` and `patchelf` keep it and glibc, musl and the kernel ignore it (tried); linkers drop
/// it, so it is set after linking.
pub const MARKER: u8 = 0x53;

/// Offset in bytes of the marker in an ELF file: of the top byte of `e_flags`.
#[must_use]
pub const fn offset(class: Class, byte_order: ByteOrder) -> usize {
    match (class, byte_order) {
        (Class::Elf32, ByteOrder::Little) => 0x27,
        (Class::Elf32, ByteOrder::Big) => 0x24,
        (Class::Elf64, ByteOrder::Little) => 0x33,
        (Class::Elf64, ByteOrder::Big) => 0x30,
    }
}

/// Extension of programs that carry no marker.
pub const EXTENSION: &str = "slulb";

/// End of the name of a handler that is registered with the flag `P`: its arguments are its own name, the program's
/// path, and the program's argv. From Linux 5.12 on AT_FLAGS says so, too.
pub const KEEPS_ARGV0: &str = "-binfmt-P";

#[cfg(test)]
mod tests {
    use super::{KEEPS_ARGV0, MARKER, offset};
    use crate::arch::{ByteOrder, Class};
    use crate::paths::BINFMT_HANDLER;

    #[test]
    fn marker_is_the_top_byte_of_e_flags() {
        // e_flags follows e_ident, two halves, a word, three addresses or offsets (gABI, "ELF Header").
        for (class, address) in [(Class::Elf32, 4), (Class::Elf64, 8)] {
            let e_flags = 16 + 2 + 2 + 4 + 3 * address;
            let mut file = [0u8; 64];
            file[offset(class, ByteOrder::Little)] = MARKER;
            let flags = u32::from_le_bytes(*file[e_flags..].first_chunk().unwrap());
            assert_eq!(flags >> 24, u32::from(MARKER));
            let mut file = [0u8; 64];
            file[offset(class, ByteOrder::Big)] = MARKER;
            let flags = u32::from_be_bytes(*file[e_flags..].first_chunk().unwrap());
            assert_eq!(flags >> 24, u32::from(MARKER));
        }
    }

    #[test]
    fn the_installed_handler_says_what_it_is_given() {
        assert!(BINFMT_HANDLER.ends_with(KEEPS_ARGV0));
    }
}
