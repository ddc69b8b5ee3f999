//! What differs between processors, as data: relocation numbers and the TLS layout.
//!
//! Every machine compiles on every host, so that tests on one host cover them all. A machine joins by
//! implementing [`Machine`]; nothing generic mentions a machine's numbers.
#![forbid(unsafe_code)]

mod x86_64;

pub use x86_64::X86_64;

/// What a relocation asks for, whatever its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocKind {
    /// Nothing.
    None,
    /// Load bias plus addend.
    Relative,
    /// Address of the symbol plus addend.
    Absolute,
    /// Address of the symbol, for a GOT entry.
    GlobDat,
    /// Address of the symbol, for a PLT's slot: always a function.
    JumpSlot,
    /// Offset of a thread-local symbol from the thread pointer.
    TpOffset,
    /// Number of the module that a thread-local symbol is in.
    DtpModule,
    /// Offset of a thread-local symbol in its module's block.
    DtpOffset,
    /// A descriptor of a thread-local symbol: two words, a function and its argument.
    TlsDescriptor,
    /// What the function at load bias plus addend answers.
    Irelative,
    /// The bytes of a library's data, for the program's own copy of it.
    Copy,
}

/// One processor architecture.
pub trait Machine {
    /// `e_machine`.
    const E_MACHINE: u16;
    /// The kernel's name of it, as in the loader's file name.
    const NAME: &'static str;

    /// The relocation type of an offset from the thread pointer.
    const TP_OFFSET: u32;

    /// What the relocation type asks for; `None` if the loader does not do it.
    fn kind(r_type: u32) -> Option<RelocKind>;

    /// The psABI's name of a relocation type, empty if there is none.
    fn r_type_name(r_type: u32) -> &'static str;
}

/// The machine that this loader runs on.
#[cfg(target_arch = "x86_64")]
pub type Native = X86_64;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("no machine::Machine for this architecture yet");
