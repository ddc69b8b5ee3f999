//! The differences between processors, as data: relocation types, thread-local storage, pages, calling conventions.
//!
//! Every machine compiles on every host, so that tests on one host cover them all. A machine joins by implementing
//! [`Machine`]; generic code contains no number of a machine. It asks the machine of the image in question
//! ([`crate::os::seam::Image::Machine`]): that is [`Native`] for a mapped image, and any machine in a test.
#![forbid(unsafe_code)]

mod aarch64;
mod interface;
mod riscv64;
mod x86_64;

pub use aarch64::Aarch64;
pub use interface::{Machine, RelocKind, TcbWord, Tls, canary_word, write_tcb};
pub use riscv64::Riscv64;
pub use x86_64::X86_64;

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
    use super::{Aarch64, Machine, RelocKind, Riscv64, X86_64, canary_word, write_tcb};

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
        assert_eq!((canary_word::<X86_64>(), canary_word::<Aarch64>()), (Some(5), None));
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
