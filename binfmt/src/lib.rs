//! How binfmt_misc tells a SLUL binary from any other ELF file.
//!
//! So far only the marker; the registration for systemd and Debian will be generated here.
#![no_std]
#![forbid(unsafe_code)]

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

#[cfg(test)]
mod tests {
    use super::{MARKER, marker_offset};

    #[test]
    fn marker_is_the_top_byte_of_e_flags() {
        let mut elf64 = [0u8; 64];
        elf64[marker_offset(2).unwrap()] = MARKER;
        let flags = u32::from_le_bytes(elf64[48..52].try_into().unwrap());
        assert_eq!(flags >> 24, u32::from(MARKER));
        assert_eq!(marker_offset(3), None);
    }
}
