//! The ELF header of a file, checked.
#![forbid(unsafe_code)]

use crate::base::addr::FileOffset;
use crate::elf::{Decode, Ehdr, consts, size};
use crate::error::{Failure, Problem};
use crate::machine::Machine;

/// Largest number of program headers that the loader reads. Linkers write about a dozen.
pub const MAX_PHDRS: u16 = 64;

/// The checked ELF header of a file for one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// `e_type`: ET_DYN or ET_EXEC.
    pub e_type: u16,
    /// Offset of the program headers in the file.
    pub phoff: FileOffset,
    /// Number of program headers, at most [`MAX_PHDRS`].
    pub phnum: u16,
}

impl Headers {
    /// Checks the first bytes of a file of `file_size` bytes.
    ///
    /// # Errors
    /// [`Problem::NotElf`]; [`Problem::Class`], [`Problem::Encoding`], [`Problem::Version`], [`Problem::Machine`] or
    /// [`Problem::Type`] with the value, if the file is not a program or library of machine `M`;
    /// [`Problem::ProgramHeaders`] for an unusable number or size of program headers; [`Problem::Truncated`] if the
    /// file ends within its headers.
    pub fn parse<M: Machine>(bytes: &[u8], file_size: u64) -> Result<Self, Failure<'static>> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Problem::NotElf.into());
        }
        if bytes.len() < size::EHDR {
            return Err(Problem::Truncated { end: FileOffset(size::EHDR as u64), size: file_size }.into());
        }
        let ehdr = Ehdr::decode(bytes);
        let [_, _, _, _, class, data, version, ..] = ehdr.e_ident;
        if class != M::CLASS {
            return Err(Problem::Class(class).into());
        }
        if data != consts::ELFDATA2LSB {
            return Err(Problem::Encoding(data).into());
        }
        if version != consts::EV_CURRENT || ehdr.e_version != u32::from(consts::EV_CURRENT) {
            return Err(Problem::Version(ehdr.e_version).into());
        }
        if ehdr.e_machine != M::E_MACHINE {
            return Err(Problem::Machine(ehdr.e_machine).into());
        }
        if ehdr.e_type != consts::ET_DYN && ehdr.e_type != consts::ET_EXEC {
            return Err(Problem::Type(ehdr.e_type).into());
        }
        if usize::from(ehdr.e_phentsize) != size::PHDR || ehdr.e_phnum == 0 || ehdr.e_phnum > MAX_PHDRS {
            return Err(Problem::ProgramHeaders { count: ehdr.e_phnum, entry_size: ehdr.e_phentsize }.into());
        }
        let table = u64::from(ehdr.e_phnum).saturating_mul(size::PHDR as u64);
        let end = ehdr.e_phoff.saturating_add(table);
        if end > file_size {
            return Err(Problem::Truncated { end: FileOffset(end), size: file_size }.into());
        }
        Ok(Self { e_type: ehdr.e_type, phoff: FileOffset(ehdr.e_phoff), phnum: ehdr.e_phnum })
    }

    /// Size of the program header table in bytes.
    #[must_use]
    pub fn table_size(&self) -> usize {
        usize::from(self.phnum).saturating_mul(size::PHDR)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Headers, Problem};
    use crate::base::addr::FileOffset;
    use crate::machine::{Aarch64, Riscv64, X86_64};
    use std::vec::Vec;

    fn header() -> Vec<u8> {
        let mut bytes = std::vec![0u8; 64 + 56];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16] = 3;
        bytes[18] = 62;
        bytes[20] = 1;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes
    }

    fn with(offset: usize, value: u8) -> Result<Headers, Failure<'static>> {
        let mut bytes = header();
        bytes[offset] = value;
        Headers::parse::<X86_64>(&bytes, 120)
    }

    #[test]
    fn a_good_header() {
        let expected = Headers { e_type: 3, phoff: FileOffset(64), phnum: 1 };
        assert_eq!(Headers::parse::<X86_64>(&header(), 120), Ok(expected));
    }

    #[test]
    fn each_field_has_its_refusal() {
        assert_eq!(with(0, 0), Err(Problem::NotElf.into()));
        assert_eq!(with(4, 1), Err(Problem::Class(1).into()));
        assert_eq!(with(5, 2), Err(Problem::Encoding(2).into()));
        assert_eq!(with(20, 2), Err(Problem::Version(2).into()));
        assert_eq!(with(18, 183), Err(Problem::Machine(183).into()));
        assert_eq!(with(16, 1), Err(Problem::Type(1).into()));
        assert_eq!(with(54, 32), Err(Problem::ProgramHeaders { count: 1, entry_size: 32 }.into()));
        assert_eq!(with(56, 0), Err(Problem::ProgramHeaders { count: 0, entry_size: 56 }.into()));
        assert_eq!(with(56, 65), Err(Problem::ProgramHeaders { count: 65, entry_size: 56 }.into()));
        assert_eq!(with(33, 1), Err(Problem::Truncated { end: FileOffset(64 + 256 + 56), size: 120 }.into()));
    }

    #[test]
    fn each_machine_takes_its_own() {
        for (number, [x86_64, aarch64, riscv64]) in
            [(62, [true, false, false]), (183, [false, true, false]), (243, [false, false, true])]
        {
            let mut bytes = header();
            bytes[18] = number;
            assert_eq!(Headers::parse::<X86_64>(&bytes, 120).is_ok(), x86_64);
            assert_eq!(Headers::parse::<Aarch64>(&bytes, 120).is_ok(), aarch64);
            assert_eq!(Headers::parse::<Riscv64>(&bytes, 120).is_ok(), riscv64);
        }
    }

    #[test]
    fn any_prefix_is_refused() {
        let bytes = header();
        for len in 0..64 {
            assert!(Headers::parse::<X86_64>(&bytes[..len], len as u64).is_err());
        }
    }
}
