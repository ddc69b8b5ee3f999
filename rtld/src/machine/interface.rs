//! What each machine says of itself: [`Machine`], which a table such as `x86_64.rs` implements.
#![forbid(unsafe_code)]

use abi::arch::Arch;

use crate::base::addr::PageSize;

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
pub(super) use relocations;

/// Number of the word in the TCB that has the stack protector's canary, where there is one.
#[must_use]
pub fn canary_word<M: Machine>() -> Option<usize> {
    M::TCB.iter().find(|(_, word)| *word == TcbWord::Canary).map(|&(index, _)| index)
}

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
