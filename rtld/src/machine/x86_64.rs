//! x86_64 (System V psABI, AMD64 supplement).
#![forbid(unsafe_code)]

use super::{Machine, RelocKind};
use crate::elf::consts::EM_X86_64;

/// x86_64: TLS variant II.
#[derive(Clone, Copy, Debug)]
pub struct X86_64;

impl Machine for X86_64 {
    const E_MACHINE: u16 = EM_X86_64;
    const NAME: &'static str = "x86_64";
    const TP_OFFSET: u32 = 18;

    fn kind(r_type: u32) -> Option<RelocKind> {
        match r_type {
            0 => Some(RelocKind::None),
            1 => Some(RelocKind::Absolute),
            6 => Some(RelocKind::GlobDat),
            7 => Some(RelocKind::JumpSlot),
            8 => Some(RelocKind::Relative),
            5 => Some(RelocKind::Copy),
            16 => Some(RelocKind::DtpModule),
            17 => Some(RelocKind::DtpOffset),
            18 => Some(RelocKind::TpOffset),
            36 => Some(RelocKind::TlsDescriptor),
            37 => Some(RelocKind::Irelative),
            _ => None,
        }
    }

    fn r_type_name(r_type: u32) -> &'static str {
        match r_type {
            0 => "R_X86_64_NONE",
            1 => "R_X86_64_64",
            2 => "R_X86_64_PC32",
            5 => "R_X86_64_COPY",
            6 => "R_X86_64_GLOB_DAT",
            7 => "R_X86_64_JUMP_SLOT",
            8 => "R_X86_64_RELATIVE",
            10 => "R_X86_64_32",
            11 => "R_X86_64_32S",
            16 => "R_X86_64_DTPMOD64",
            17 => "R_X86_64_DTPOFF64",
            18 => "R_X86_64_TPOFF64",
            36 => "R_X86_64_TLSDESC",
            37 => "R_X86_64_IRELATIVE",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, RelocKind, X86_64};

    #[test]
    fn kinds_agree_with_the_published_numbers() {
        use crate::elf::r_x86_64 as n;
        for (number, kind) in [
            (n::R_X86_64_NONE, RelocKind::None),
            (n::R_X86_64_64, RelocKind::Absolute),
            (n::R_X86_64_GLOB_DAT, RelocKind::GlobDat),
            (n::R_X86_64_JUMP_SLOT, RelocKind::JumpSlot),
            (n::R_X86_64_RELATIVE, RelocKind::Relative),
            (n::R_X86_64_TPOFF64, RelocKind::TpOffset),
            (n::R_X86_64_COPY, RelocKind::Copy),
            (n::R_X86_64_IRELATIVE, RelocKind::Irelative),
            (n::R_X86_64_DTPMOD64, RelocKind::DtpModule),
            (n::R_X86_64_DTPOFF64, RelocKind::DtpOffset),
            (n::R_X86_64_TLSDESC, RelocKind::TlsDescriptor),
        ] {
            assert_eq!(X86_64::kind(number), Some(kind));
            assert!(!X86_64::r_type_name(number).is_empty());
        }
        assert_eq!(X86_64::kind(n::R_X86_64_PC32), None);
        assert_eq!(X86_64::kind(250), None);
    }
}
