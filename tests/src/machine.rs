//! Files of the machine that the tests run on.

use abi::arch::NATIVE;

/// Whether these are the first bytes of an ELF file for this machine, by class, byte order and processor. A machine may have
/// programs and libraries for others beside its own, such as 32-bit ones.
#[must_use]
pub fn is_for_this_machine(bytes: &[u8]) -> bool {
    let [0x7f, b'E', b'L', b'F', class, order, ..] = *bytes else { return false };
    let machine = bytes.get(18..).and_then(<[u8]>::first_chunk).map(|field| u16::from_le_bytes(*field));
    class == NATIVE.class as u8 && order == NATIVE.byte_order as u8 && machine == Some(NATIVE.e_machine)
}

#[cfg(test)]
mod tests {
    use super::is_for_this_machine;
    use std::{env, fs};

    #[test]
    fn own_and_foreign_files() {
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        assert!(is_for_this_machine(&own));
        for (place, value) in [(0, 0), (4, 1), (5, 2), (18, 3)] {
            let mut other = own[..64].to_vec();
            other[place] = value;
            assert!(!is_for_this_machine(&other), "byte {place}");
        }
        assert!(!is_for_this_machine(b"") && !is_for_this_machine(&own[..19]));
    }
}
