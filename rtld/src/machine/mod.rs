//! The differences between processors, as data: relocation types, thread-local storage, pages, calling conventions.
//!
//! Every machine compiles on every host, so that tests on one host cover them all. A machine joins by implementing
//! [`Machine`]; generic code contains no number of a machine. It asks the machine of the image in question
//! ([`crate::os::seam::Image::Machine`]): that is [`Native`] for a mapped image, and any machine in a test.
#![forbid(unsafe_code)]

mod aarch64;
mod riscv64;
mod x86_64;

use abi::arch::Arch;

use crate::base::addr::PageSize;

pub use aarch64::Aarch64;
pub use riscv64::Riscv64;
pub use x86_64::X86_64;

/// The meaning of a relocation, whatever its number. The psABIs' letters: B is the load bias, S the symbol's value, A
/// the addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocKind {
    /// Nothing.
    None,
    /// B + A.
    Relative,
    /// S + A.
    Absolute,
    /// The symbol's address, for a GOT entry.
    GlobDat,
    /// The symbol's address, for a PLT slot: always a function.
    JumpSlot,
    /// Distance of a thread-local symbol from the thread pointer.
    TpOffset,
    /// Number of the module that contains a thread-local symbol.
    DtpModule,
    /// Offset of a thread-local symbol in its module's block, less [`Tls::dtp_bias`].
    DtpOffset,
    /// A descriptor of a thread-local symbol: two words, a function and its argument.
    TlsDescriptor,
    /// The result of the function at B + A.
    Irelative,
    /// The bytes of a library's data, for the program's own copy of it.
    Copy,
}

/// Places of the start's thread-local blocks, relative to the thread pointer (Drepper, "ELF Handling For
/// Thread-Local Storage", section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether they lie below the thread pointer and end there (variant II), or above it (variant I).
    pub negative: bool,
    /// Bytes between the thread pointer and the first block (variant I): the part of the TCB that is libc's.
    pub gap: u64,
    /// Bytes that `__tls_get_addr` adds to its offset argument, and that DTPREL relocations subtract.
    pub dtp_bias: u64,
}

/// A word of the TCB that compiled code reads directly, by the thread pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbWord {
    /// The thread pointer itself.
    ThreadPointer,
    /// The stack protector's canary.
    Canary,
}

/// One processor architecture.
pub trait Machine: 'static {
    /// Its row in the table of machines of `abi`.
    const ARCH: Arch;
    /// `e_machine`.
    const E_MACHINE: u16 = Self::ARCH.e_machine;
    /// The kernel's name of it, which is part of the loader's file name.
    const NAME: &'static str = Self::ARCH.name;
    /// `EI_CLASS` of its objects.
    const CLASS: u8 = Self::ARCH.class as u8;
    /// Largest page that a kernel for it may have. Its multiples are aligned on every kernel.
    const LARGEST_PAGE: PageSize = page_of(Self::ARCH);
    /// Whether relocations are DT_REL, with the addend in place, instead of DT_RELA.
    const REL: bool;
    /// Whether GLOB_DAT and JUMP_SLOT are S + A. Where they are S, `r_addend` has no meaning.
    const SLOTS_HAVE_ADDENDS: bool;
    /// Places of thread-local blocks.
    const TLS: Tls;
    /// Size in bytes of the part of the TCB that begins at the thread pointer.
    const TCB_SIZE: usize;
    /// Words of it, by index.
    const TCB: &'static [(usize, TcbWord)];

    /// The meaning of a relocation type; `None` if the loader does not implement it.
    fn kind(r_type: u32) -> Option<RelocKind>;

    /// The relocation type of that meaning. For GLOB_DAT on a machine without it, the type of S + A.
    fn number(kind: RelocKind) -> u32;

    /// The psABI's name of a relocation type, empty if there is none.
    fn r_type_name(r_type: u32) -> &'static str;

    /// Whether the symbol's function may have arguments in registers that the procedure call standard does not use. A
    /// first-call stub would lose them, so such a function is bound before it is called.
    fn is_variant(st_other: u8) -> bool;
}

/// Largest page of a machine of the table. All of them are powers of two.
const fn page_of(arch: Arch) -> PageSize {
    match PageSize::new(arch.largest_page) {
        Some(page) => page,
        None => PageSize::BYTE,
    }
}

/// Defines the relocation types of a machine: rows of number, name and meaning, then rows of number and name alone.
macro_rules! relocations {
    ($($number:literal $name:ident = $kind:ident $(| $also:ident)?;)+ $(; $($other:literal $other_name:ident;)+)?) => {
        #[inline]
        fn kind(r_type: u32) -> Option<RelocKind> {
            match r_type {
                $($number => Some(RelocKind::$kind),)+
                _ => None,
            }
        }

        #[inline]
        fn number(kind: RelocKind) -> u32 {
            match kind {
                $(RelocKind::$kind $(| RelocKind::$also)? => $number,)+
            }
        }

        fn r_type_name(r_type: u32) -> &'static str {
            match r_type {
                $($number => stringify!($name),)+
                $($($other => stringify!($other_name),)+)?
                _ => "",
            }
        }
    };
}
use relocations;

/// Writes the words of a TCB of [`Machine::TCB_SIZE`] bytes at `tp`.
pub fn write_tcb<M: Machine>(tcb: &mut [u8], tp: u64, canary: u64) {
    for &(index, word) in M::TCB {
        let value = match word {
            TcbWord::ThreadPointer => tp,
            TcbWord::Canary => canary,
        };
        tcb.as_chunks_mut().0.get_mut(index).into_iter().for_each(|place| *place = value.to_le_bytes());
    }
}

/// The machine that this loader runs on.
#[cfg(target_arch = "aarch64")]
pub type Native = Aarch64;

/// The machine that this loader runs on.
#[cfg(target_arch = "riscv64")]
pub type Native = Riscv64;

/// The machine that this loader runs on.
#[cfg(target_arch = "x86_64")]
pub type Native = X86_64;

#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64")))]
compile_error!("no machine::Machine for this architecture yet");

#[cfg(test)]
mod tests {
    use super::{Aarch64, Machine, RelocKind, Riscv64, X86_64, write_tcb};

    /// All kinds.
    const KINDS: [RelocKind; 11] = {
        use RelocKind::{
            Absolute, Copy, DtpModule, DtpOffset, GlobDat, Irelative, JumpSlot, None, Relative, TlsDescriptor,
            TpOffset,
        };
        [
            None,
            Relative,
            Absolute,
            GlobDat,
            JumpSlot,
            TpOffset,
            DtpModule,
            DtpOffset,
            TlsDescriptor,
            Irelative,
            Copy,
        ]
    };

    fn is_sound<M: Machine>(without_glob_dat: bool) {
        for kind in KINDS {
            let number = M::number(kind);
            let expected = if without_glob_dat && kind == RelocKind::GlobDat { RelocKind::Absolute } else { kind };
            assert_eq!(M::kind(number), Some(expected), "{} {kind:?}", M::NAME);
            assert!(M::r_type_name(number).starts_with("R_"), "{} {kind:?}", M::NAME);
        }
        assert_eq!((M::kind(5000), M::r_type_name(5000)), (None, ""));
        // A variant I block begins behind the TCB, a variant II block ends at the thread pointer.
        let gap = if M::TLS.negative { 0 } else { M::TCB_SIZE as u64 };
        assert_eq!(M::TLS.gap, gap, "{}", M::NAME);
        assert!(M::TCB.iter().all(|(index, _)| index * 8 + 8 <= M::TCB_SIZE), "{}", M::NAME);
        assert!(M::LARGEST_PAGE.bytes() == M::ARCH.largest_page && M::ARCH.largest_page >= 4096);
        assert!(!M::REL && M::CLASS == 2, "neither is built yet");
    }

    #[test]
    fn numbers_go_both_ways() {
        is_sound::<X86_64>(false);
        is_sound::<Aarch64>(false);
        is_sound::<Riscv64>(true);
    }

    #[test]
    fn tcb_words_are_where_code_reads_them() {
        let words = |write: fn(&mut [u8], u64, u64)| {
            let mut tcb = [0; 48];
            write(&mut tcb, 0x70, 0xca);
            let mut words = tcb.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            [(); 6].map(|()| words.next().unwrap())
        };
        assert_eq!(words(write_tcb::<X86_64>), [0x70, 0, 0x70, 0, 0, 0xca]);
        for write in [write_tcb::<Aarch64>, write_tcb::<Riscv64>] {
            assert_eq!(words(write), [0; 6], "the canary is the variable __stack_chk_guard");
        }
        write_tcb::<X86_64>(&mut [], 0x70, 0xca);
    }

    #[test]
    fn variant_calling_conventions_are_told_by_st_other() {
        assert!(!X86_64::is_variant(0x80), "the psABI has none");
        for (st_other, variant) in [(0, false), (3, false), (0x80, true), (0x82, true)] {
            assert_eq!(Aarch64::is_variant(st_other), variant);
            assert_eq!(Riscv64::is_variant(st_other), variant);
        }
    }
}
