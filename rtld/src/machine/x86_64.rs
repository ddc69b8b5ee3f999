//! x86_64 (System V psABI, AMD64 supplement).
#![forbid(unsafe_code)]

use abi::arch::{self, Arch};

use super::interface::{Machine, RelocKind, TcbWord, Tls, relocations};

/// x86_64: TLS variant II.
#[derive(Clone, Copy, Debug)]
pub struct X86_64;

impl Machine for X86_64 {
    const ARCH: Arch = arch::X86_64;
    const REL: bool = false;
    // "Relocation Types": GLOB_DAT and JUMP_SLOT are S.
    const SLOTS_HAVE_ADDENDS: bool = false;
    const TLS: Tls = Tls { negative: true, gap: 0, dtp_bias: 0 };
    // "Thread-Local Storage": %fs:0 is the thread pointer itself. Code for glibc's `tcbhead_t` reads it from %fs:0x10, too,
    // and the canary from %fs:0x28.
    const TCB_SIZE: usize = 128;
    const TCB: &'static [(usize, TcbWord)] =
        &[(0, TcbWord::ThreadPointer), (2, TcbWord::ThreadPointer), (5, TcbWord::Canary)];

    // "Relocation Types", table 4.9.
    relocations! {
        0 R_X86_64_NONE = None;
        1 R_X86_64_64 = Absolute;
        5 R_X86_64_COPY = Copy;
        6 R_X86_64_GLOB_DAT = GlobDat;
        7 R_X86_64_JUMP_SLOT = JumpSlot;
        8 R_X86_64_RELATIVE = Relative;
        16 R_X86_64_DTPMOD64 = DtpModule;
        17 R_X86_64_DTPOFF64 = DtpOffset;
        18 R_X86_64_TPOFF64 = TpOffset;
        36 R_X86_64_TLSDESC = TlsDescriptor;
        37 R_X86_64_IRELATIVE = Irelative;
        ;
        2 R_X86_64_PC32;
        10 R_X86_64_32;
        11 R_X86_64_32S;
    }

    fn is_variant(_: u8) -> bool {
        false
    }
}
