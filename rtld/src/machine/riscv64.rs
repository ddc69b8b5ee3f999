//! riscv64, little-endian, LP64 ("RISC-V ELF Specification", of the RISC-V psABI).
#![forbid(unsafe_code)]

use abi::arch::{self, Arch};

use super::interface::{Machine, RelocKind, TcbWord, Tls, relocations};

/// riscv64: TLS variant I.
#[derive(Clone, Copy, Debug)]
pub struct Riscv64;

/// The function has a variant calling convention (psABI, "Symbol Table").
const STO_RISCV_VARIANT_CC: u8 = 0x80;

impl Machine for Riscv64 {
    const ARCH: Arch = arch::RISCV64;
    const REL: bool = false;
    // "Relocations": JUMP_SLOT is S. There is no GLOB_DAT: a GOT entry is R_RISCV_64.
    const SLOTS_HAVE_ADDENDS: bool = false;
    // "Thread Local Storage": tp is where the program's block begins, the TCB is below it. TLS_DTV_OFFSET is 0x800: a DTPREL
    // word reaches both ways from there.
    const TLS: Tls = Tls { negative: false, gap: 0, dtp_bias: 0x800 };
    // What is below tp is libc's, and the canary is the variable `__stack_chk_guard`.
    const TCB_SIZE: usize = 0;
    const TCB: &'static [(usize, TcbWord)] = &[];

    // "Relocations".
    relocations! {
        0 R_RISCV_NONE = None;
        2 R_RISCV_64 = Absolute | GlobDat;
        3 R_RISCV_RELATIVE = Relative;
        4 R_RISCV_COPY = Copy;
        5 R_RISCV_JUMP_SLOT = JumpSlot;
        7 R_RISCV_TLS_DTPMOD64 = DtpModule;
        9 R_RISCV_TLS_DTPREL64 = DtpOffset;
        11 R_RISCV_TLS_TPREL64 = TpOffset;
        12 R_RISCV_TLSDESC = TlsDescriptor;
        58 R_RISCV_IRELATIVE = Irelative;
        ;
        1 R_RISCV_32;
        19 R_RISCV_CALL_PLT;
        26 R_RISCV_HI20;
    }

    fn is_variant(st_other: u8) -> bool {
        st_other & STO_RISCV_VARIANT_CC != 0
    }
}
