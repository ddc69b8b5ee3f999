//! The structures of an ELF64 little-endian file, decoded by value.
//!
//! This is the only file that names goblin, which supplies layouts and constants; goblin's readers panic on misaligned
//! buffers and are not used. Every structure is decoded from a slice of bytes, so nothing here depends on alignment,
//! and nothing borrows from an image.
#![forbid(unsafe_code)]

pub mod allowance;
pub mod dynamic;
pub mod eh_frame;
pub mod gnu_hash;
pub mod headers;
pub mod note;
pub mod plan;
pub mod strings;
pub mod symbol;
mod unsupported;
pub mod version;

use core::mem::size_of;

pub use goblin::elf64::dynamic::Dyn;
pub use goblin::elf64::header::Header as Ehdr;
pub use goblin::elf64::program_header::ProgramHeader as Phdr;
pub use goblin::elf64::reloc::Rela;
pub use goblin::elf64::sym::Sym;

/// Constants under their names in the specifications (gABI; `EM_*` too).
pub mod consts {
    pub use goblin::elf::dynamic::{
        DF_BIND_NOW, DT_BIND_NOW, DT_DEBUG, DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_FLAGS, DT_FLAGS_1,
        DT_GNU_HASH, DT_HASH, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTGOT,
        DT_PLTREL, DT_PLTRELSZ, DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ, DT_RELA, DT_RELACOUNT, DT_RELAENT,
        DT_RELASZ, DT_RELSZ, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMENT, DT_SYMTAB,
        DT_TEXTREL, DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM,
    };
    pub use goblin::elf::header::{
        EI_CLASS, EI_DATA, EI_VERSION, ELFCLASS64, ELFDATA2LSB, EM_AARCH64, EM_RISCV, EM_X86_64, ET_DYN, ET_EXEC,
        EV_CURRENT,
    };
    pub use goblin::elf::program_header::{
        PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_NOTE,
        PT_PHDR, PT_TLS,
    };
    pub use goblin::elf::section_header::{SHN_UNDEF, SHT_DYNAMIC, SHT_DYNSYM, SHT_STRTAB};
    pub use goblin::elf::sym::{
        STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, STT_TLS,
        STV_DEFAULT, STV_HIDDEN, STV_INTERNAL, STV_PROTECTED,
    };

    /// Packed relative relocations (gABI).
    pub const DT_RELR: u64 = 36;
    /// Size of the DT_RELR table in bytes.
    pub const DT_RELRSZ: u64 = 35;
    /// Size of a DT_RELR entry in bytes.
    pub const DT_RELRENT: u64 = 37;
    /// Relocations in Android's packed format (`APS2`), and their size in bytes (bionic, <elf.h>).
    pub const DT_ANDROID_REL: u64 = 0x6000_000f;
    /// [`DT_ANDROID_REL`].
    pub const DT_ANDROID_RELSZ: u64 = 0x6000_0010;
    /// [`DT_ANDROID_REL`], with addends.
    pub const DT_ANDROID_RELA: u64 = 0x6000_0011;
    /// [`DT_ANDROID_RELA`].
    pub const DT_ANDROID_RELASZ: u64 = 0x6000_0012;
    /// DT_RELR, before the gABI had it.
    pub const DT_ANDROID_RELR: u64 = 0x6fff_e000;
    /// [`DT_ANDROID_RELR`].
    pub const DT_ANDROID_RELRSZ: u64 = 0x6fff_e001;
    /// Relocations in LLVM's compact format (LLVM, "CREL").
    pub const DT_CREL: u64 = 0x4000_0026;
    /// Size of a table of data to be spread out before the object runs (Solaris, "Dynamic Section").
    pub const DT_MOVESZ: u64 = 0x6fff_fdfb;
    /// Address of that table.
    pub const DT_MOVETAB: u64 = 0x6fff_fefe;
    /// Objects that watch the loading of what the object needs (Solaris; glibc, rtld-audit(7)).
    pub const DT_DEPAUDIT: u64 = 0x6fff_fefb;
    /// Objects that watch the loading of the object.
    pub const DT_AUDIT: u64 = 0x6fff_fefc;
    /// The symbols of another object stand for those of this one (Solaris; glibc).
    pub const DT_FILTER: u64 = 0x7fff_ffff;
    /// The symbols of another object stand for those of this one, if that object is present.
    pub const DT_AUXILIARY: u64 = 0x7fff_fffd;
    /// References are looked up in the object itself first (gABI); older than DF_SYMBOLIC.
    pub const DT_SYMBOLIC: u64 = 16;
    /// DT_FLAGS: references are looked up in the object itself first (gABI).
    pub const DF_SYMBOLIC: u64 = 2;
    /// DT_FLAGS: the object has text relocations (gABI).
    pub const DF_TEXTREL: u64 = 4;
    /// DT_FLAGS_1 (Solaris, "Dynamic Section"; <elf.h>): the object is initialised before all others.
    pub const DF_1_INITFIRST: u64 = 0x20;
    /// DT_FLAGS_1: the object's definitions come before those of the libraries before it.
    pub const DF_1_INTERPOSE: u64 = 0x400;
    /// DT_FLAGS_1: each reference is bound to the object that DT_SYMINFO names.
    pub const DF_1_DIRECT: u64 = 0x100;
    /// DT_FLAGS_1: the default directories are not searched for what the object needs.
    pub const DF_1_NODEFLIB: u64 = 0x800;
    /// DT_FLAGS_1: the object is for linkers alone.
    pub const DF_1_STUB: u64 = 0x400_0000;
    /// DT_FLAGS_1: the object stays loaded once it was opened.
    pub const DF_1_NODELETE: u64 = 8;
    /// DT_FLAGS_1: the object must not be opened at run time.
    pub const DF_1_NOOPEN: u64 = 0x40;
    /// DT_FLAGS_1: all functions are bound before any is called.
    pub const DF_1_NOW: u64 = 1;
    /// DT_FLAGS_1: the object is a program, although it is ET_DYN.
    pub const DF_1_PIE: u64 = 0x0800_0000;
    /// `vd_flags`: the entry names the file, not a version.
    pub const VER_FLG_BASE: u16 = 1;
    /// `vna_flags`: a missing version is not fatal.
    pub const VER_FLG_WEAK: u16 = 2;
    /// Mask of the version index in a DT_VERSYM entry; the remaining bit means hidden.
    pub const VERSYM_VERSION: u16 = 0x7fff;
    /// Version index: global, unversioned.
    pub const VER_NDX_GLOBAL: u16 = 1;
}

/// Sizes of the structures in bytes, as the specifications give them.
pub mod size {
    /// `Elf64_Ehdr`.
    pub const EHDR: usize = 64;
    /// `Elf64_Phdr`.
    pub const PHDR: usize = 56;
    /// `Elf64_Dyn`.
    pub const DYN: usize = 16;
    /// `Elf64_Rela`.
    pub const RELA: usize = 24;
    /// `Elf64_Sym`.
    pub const SYM: usize = 24;
    /// `Elf64_Verdef`.
    pub const VERDEF: usize = 20;
    /// `Elf64_Verneed`.
    pub const VERNEED: usize = 16;
    /// `Elf64_Vernaux`.
    pub const VERNAUX: usize = 16;
}

static_assertions::const_assert_eq!(size_of::<Ehdr>(), size::EHDR);
static_assertions::const_assert_eq!(size_of::<Phdr>(), size::PHDR);
static_assertions::const_assert_eq!(size_of::<Dyn>(), size::DYN);
static_assertions::const_assert_eq!(size_of::<Rela>(), size::RELA);
static_assertions::const_assert_eq!(size_of::<Sym>(), size::SYM);

/// `Elf64_Verdef`: one version that the object defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdef {
    /// `VER_FLG_*`.
    pub vd_flags: u16,
    /// Version index of it in DT_VERSYM.
    pub vd_ndx: u16,
    /// Its first name, as a distance in bytes from this structure.
    pub vd_aux: u32,
    /// Next [`Verdef`], as a distance in bytes from this structure.
    pub vd_next: u32,
}

/// `Elf64_Verneed`: one file whose versions are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verneed {
    /// Number of [`Vernaux`] that belong to it.
    pub vn_cnt: u16,
    /// File name, an offset in the string table.
    pub vn_file: u32,
    /// First [`Vernaux`], as a distance in bytes from this structure.
    pub vn_aux: u32,
    /// Next [`Verneed`], as a distance in bytes from this structure.
    pub vn_next: u32,
}

/// `Elf64_Vernaux`: one version that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vernaux {
    /// `VER_FLG_*`.
    pub vna_flags: u16,
    /// Version index of it in DT_VERSYM.
    pub vna_other: u16,
    /// Version name, an offset in the string table.
    pub vna_name: u32,
    /// Next [`Vernaux`], as a distance in bytes from this structure.
    pub vna_next: u32,
}

/// Takes little-endian numbers off the front of a structure.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        // A structure shorter than its fields reads as zero; `size` and the tests rule that out.
        if let Some((head, rest)) = self.0.split_at_checked(N) {
            field.copy_from_slice(head);
            self.0 = rest;
        }
        field
    }

    fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn xword(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// A structure that can be decoded from the bytes of a file or an image.
pub trait Decode: Sized {
    /// Size of the structure in bytes.
    const SIZE: usize;
    /// Decodes the first `SIZE` bytes; missing bytes read as zero.
    fn decode(bytes: &[u8]) -> Self;
}

impl Decode for u16 {
    const SIZE: usize = 2;
    fn decode(bytes: &[u8]) -> Self {
        Fields(bytes).half()
    }
}

impl Decode for u32 {
    const SIZE: usize = 4;
    fn decode(bytes: &[u8]) -> Self {
        Fields(bytes).word()
    }
}

impl Decode for u64 {
    const SIZE: usize = 8;
    fn decode(bytes: &[u8]) -> Self {
        Fields(bytes).xword()
    }
}

impl Decode for [u32; 4] {
    const SIZE: usize = 16;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        [f.word(), f.word(), f.word(), f.word()]
    }
}

impl Decode for Ehdr {
    const SIZE: usize = size::EHDR;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        Self {
            e_ident: f.take(),
            e_type: f.half(),
            e_machine: f.half(),
            e_version: f.word(),
            e_entry: f.xword(),
            e_phoff: f.xword(),
            e_shoff: f.xword(),
            e_flags: f.word(),
            e_ehsize: f.half(),
            e_phentsize: f.half(),
            e_phnum: f.half(),
            e_shentsize: f.half(),
            e_shnum: f.half(),
            e_shstrndx: f.half(),
        }
    }
}

impl Decode for Phdr {
    const SIZE: usize = size::PHDR;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        Self {
            p_type: f.word(),
            p_flags: f.word(),
            p_offset: f.xword(),
            p_vaddr: f.xword(),
            p_paddr: f.xword(),
            p_filesz: f.xword(),
            p_memsz: f.xword(),
            p_align: f.xword(),
        }
    }
}

impl Decode for Dyn {
    const SIZE: usize = size::DYN;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        Self { d_tag: f.xword(), d_val: f.xword() }
    }
}

impl Decode for Rela {
    const SIZE: usize = size::RELA;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        Self { r_offset: f.xword(), r_info: f.xword(), r_addend: f.xword().cast_signed() }
    }
}

impl Decode for Sym {
    const SIZE: usize = size::SYM;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        let st_name = f.word();
        let [st_info] = f.take();
        let [st_other] = f.take();
        Self { st_name, st_info, st_other, st_shndx: f.half(), st_value: f.xword(), st_size: f.xword() }
    }
}

impl Decode for Verdef {
    const SIZE: usize = size::VERDEF;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        f.half();
        let (vd_flags, vd_ndx) = (f.half(), f.half());
        f.half();
        f.word();
        Self { vd_flags, vd_ndx, vd_aux: f.word(), vd_next: f.word() }
    }
}

impl Decode for Verneed {
    const SIZE: usize = size::VERNEED;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        f.half();
        Self { vn_cnt: f.half(), vn_file: f.word(), vn_aux: f.word(), vn_next: f.word() }
    }
}

impl Decode for Vernaux {
    const SIZE: usize = size::VERNAUX;
    fn decode(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        f.word();
        Self { vna_flags: f.half(), vna_other: f.half(), vna_name: f.word(), vna_next: f.word() }
    }
}

/// Binding of a symbol (`STB_*`).
#[must_use]
pub const fn st_bind(sym: &Sym) -> u8 {
    sym.st_info >> 4
}

/// Type of a symbol (`STT_*`).
#[must_use]
pub const fn st_type(sym: &Sym) -> u8 {
    sym.st_info & 0xf
}

/// Visibility of a symbol (`STV_*`).
#[must_use]
pub const fn st_visibility(sym: &Sym) -> u8 {
    sym.st_other & 3
}

/// Symbol index of a relocation.
#[must_use]
pub const fn r_sym(rela: &Rela) -> u32 {
    let [_, _, _, _, a, b, c, d] = rela.r_info.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Type of a relocation, a number of the machine's psABI.
#[must_use]
pub const fn r_type(rela: &Rela) -> u32 {
    let [a, b, c, d, ..] = rela.r_info.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Hash of DT_GNU_HASH.
#[must_use]
pub fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}

/// Hash of DT_HASH and of version names (gABI).
#[must_use]
pub fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, &byte| {
        let hash = hash.wrapping_shl(4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}

#[cfg(test)]
mod tests {
    use super::{Decode, Ehdr, Phdr, Rela, Sym, gnu_hash, r_sym, r_type, sysv_hash};

    #[test]
    fn structures_of_a_real_file() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let ehdr = Ehdr::decode(&bytes);
        assert_eq!(&ehdr.e_ident[..4], b"\x7fELF");
        assert_eq!(usize::from(ehdr.e_phentsize), Phdr::SIZE);
        let phdr = Phdr::decode(&bytes[usize::try_from(ehdr.e_phoff).unwrap()..]);
        assert_eq!(phdr.p_type, super::consts::PT_PHDR);
    }

    #[test]
    fn short_input_reads_as_zero() {
        assert_eq!(Sym::decode(&[1]).st_name, 0);
    }

    #[test]
    fn relocation_info_splits_in_the_middle() {
        let rela = Rela { r_offset: 0, r_info: 0x0000_0005_0000_0007, r_addend: 0 };
        assert_eq!((r_sym(&rela), r_type(&rela)), (5, 7));
    }

    #[test]
    fn hashes_as_published() {
        assert_eq!(gnu_hash(b"printf"), 0x156b_2bb8);
        assert_eq!(gnu_hash(b""), 5381);
        assert_eq!(sysv_hash(b"printf"), 0x0779_05a6);
        assert_eq!(sysv_hash(b"GLIBC_2.2.5"), 0x0969_1a75);
    }
}
