//! aarch64, little-endian, LP64 ("ELF for the Arm 64-bit Architecture", AAELF64; "Vector Function ABI", AAVPCS64).
#![forbid(unsafe_code)]

use abi::arch::{self, Arch};

use super::interface::{Machine, RelocKind, TcbWord, Tls, relocations};

/// aarch64: TLS variant I.
#[derive(Clone, Copy, Debug)]
pub struct Aarch64;

/// The function has a variant procedure call standard (AAELF64, "st_other Values").
const STO_AARCH64_VARIANT_PCS: u8 = 0x80;

impl Machine for Aarch64 {
    const ARCH: Arch = arch::AARCH64;
    const REL: bool = false;
    // AAELF64, "Dynamic relocations": GLOB_DAT and JUMP_SLOT are S + A.
    const SLOTS_HAVE_ADDENDS: bool = true;
    // AAELF64, "Thread-local storage": the thread pointer points to a TCB of two words, then the program's block.
    const TLS: Tls = Tls { negative: false, gap: 16, dtp_bias: 0 };
    // Both words are libc's, and the canary is the variable `__stack_chk_guard`.
    const TCB_SIZE: usize = 16;
    const TCB: &'static [(usize, TcbWord)] = &[];

    // AAELF64, "Dynamic relocations". It leaves open which of 1028 and 1029 is the module; on Linux it is the first.
    relocations! {
        0 R_AARCH64_NONE = None;
        257 R_AARCH64_ABS64 = Absolute;
        1024 R_AARCH64_COPY = Copy;
        1025 R_AARCH64_GLOB_DAT = GlobDat;
        1026 R_AARCH64_JUMP_SLOT = JumpSlot;
        1027 R_AARCH64_RELATIVE = Relative;
        1028 R_AARCH64_TLS_DTPMOD = DtpModule;
        1029 R_AARCH64_TLS_DTPREL = DtpOffset;
        1030 R_AARCH64_TLS_TPREL = TpOffset;
        1031 R_AARCH64_TLSDESC = TlsDescriptor;
        1032 R_AARCH64_IRELATIVE = Irelative;
        ;
        258 R_AARCH64_ABS32;
        261 R_AARCH64_PREL32;
        275 R_AARCH64_ADR_PREL_PG_HI21;
        283 R_AARCH64_CALL26;
    }

    fn is_variant(st_other: u8) -> bool {
        st_other & STO_AARCH64_VARIANT_PCS != 0
    }
}
