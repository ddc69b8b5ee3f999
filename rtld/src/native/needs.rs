//! The native needs of the program and its libraries: files, symbols, and the slots to fill.
#![forbid(unsafe_code)]

use abi::libcs::Libc;

use crate::base::addr::{Vaddr, from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::{Key, Numbers};
use crate::elf::symbol::is_canonical_plt;
use crate::elf::version::VersionRef;
use crate::elf::{Sym, consts, st_bind, st_type};
use crate::machine::{Machine, RelocKind};
use crate::native::directory::NEEDED;

/// A native symbol, as the program and its libraries refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The version of the reference, and the file that defines it.
    pub version: Option<VersionRef<'a>>,
    /// `st_type` of the first reference that states one.
    pub st_type: u8,
    /// Whether some reference is not weak, so that the symbol must exist.
    pub strong: bool,
    /// Number of the first module that refers to it.
    pub referrer: usize,
    /// The program's PLT slot for it, which is the function's address in all objects (x86_64 psABI, "Function
    /// Addresses").
    pub canonical: Option<Vaddr>,
}

/// Native data that the program has a copy of (COPY): the copy is the definition for all objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeCopy<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The version of the reference, and the file that defines it.
    pub version: Option<VersionRef<'a>>,
    /// Number of the module that contains the copy.
    pub module: usize,
    /// `st_info` of the symbol in that module.
    pub st_info: u8,
    /// Size of the copy in bytes.
    pub size: u64,
    /// Address of the copy.
    pub vaddr: Vaddr,
}

/// A word in the program or a library that refers to a native symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number of the module that contains the word.
    pub module: usize,
    /// Address of the word.
    pub vaddr: Vaddr,
    /// Number of the symbol.
    pub import: u32,
    /// Relocation type.
    pub r_type: u32,
    /// Addend.
    pub addend: i64,
    /// Whether the word holds the address of a first-call stub. Once libc is present, the loader replaces that by the
    /// symbol's address, unless the program has stored something else by then; ld.so fills words without a stub.
    pub lazy: bool,
}

/// The reason why libc can not wait for the first call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyEager {
    /// LD_SLUL_EAGER_LOAD_LIBC is set.
    Environment,
    /// A reference to data: reading it can not be intercepted.
    Data,
    /// A reference without a type (STT_NOTYPE): it may be to data.
    Untyped,
    /// A weak reference: its address may be tested.
    Weak,
    /// A thread-local variable.
    Tls,
    /// A function's address with an addend.
    Addend,
    /// A variant calling convention: arguments may be in registers that a stub does not save.
    Variant,
    /// There are more functions than first-call stubs.
    NoStub,
    /// A libc-free object has thread-local storage, whose addresses change when libc comes.
    OwnTls,
}

impl WhyEager {
    /// The reason, for a line of trace.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Environment => "asked for by the environment",
            Self::Data => "is data",
            Self::Untyped => "may be data: the reference has no type",
            Self::Weak => "is weak: its address may be tested",
            Self::Tls => "is thread-local",
            Self::Addend => "has an addend",
            Self::Variant => "has a variant calling convention, whose arguments a stub would lose",
            Self::OwnTls => "has thread-local storage, whose addresses libc decides on",
            Self::NoStub => "is beyond the number of first-call stubs",
        }
    }
}

/// The native needs of a set of objects.
#[derive(Debug)]
pub struct NativeNeeds<'a> {
    arena: &'a Arena,
    /// Whether the objects loaded before have native libraries, in which these symbols may be found.
    pub inherited: bool,
    /// DT_NEEDED names, each once: the program's in link order, then those of its libraries.
    pub libraries: List<'a, &'a [u8]>,
    /// Path of the first native library that was found, and the libc that it names.
    pub told: Option<(&'a [u8], Libc)>,
    /// The symbols, in the order of first reference. The index is the number of the stub.
    pub imports: List<'a, Import<'a>>,
    /// The words to fill.
    pub slots: List<'a, Slot>,
    /// Data to copy.
    pub copies: List<'a, NativeCopy<'a>>,
    key: Key,
    /// Index of `libraries` by name.
    by_name: Numbers<'a>,
    /// Index of `imports` by name and version.
    by_import: Numbers<'a>,
    /// The first symbol or object because of which libc can not wait, and why.
    pub eager: Option<(&'a [u8], WhyEager)>,
}

impl<'a> NativeNeeds<'a> {
    /// No needs yet. Tables by hash are keyed with `key`.
    #[must_use]
    #[inline(never)]
    pub fn new(arena: &'a Arena, key: Key) -> Self {
        Self {
            arena,
            inherited: false,
            libraries: List::new(arena),
            told: None,
            imports: List::new(arena),
            slots: List::new(arena),
            copies: List::new(arena),
            key,
            by_name: Numbers::default(),
            by_import: Numbers::default(),
            eager: None,
        }
    }

    /// Whether an import is a function by which code is registered that runs when a thread ends (Itanium C++ ABI,
    /// `thread_local`). libc keeps what registers some loaded, but does not know libraries of this world.
    #[must_use]
    pub(crate) fn is_for_thread_end(&self, number: u32) -> bool {
        let import = self.imports.get(to_usize(number.into()));
        // Or `__cxa_thread_atexit_impl`.
        import.is_some_and(|import| import.name.starts_with(b"__cxa_thread_atexit"))
    }

    /// Whether there is any native library.
    #[must_use]
    pub fn any(&self) -> bool {
        self.inherited || !self.libraries.is_empty()
    }

    /// Whether a library may be missing: at least one reference may be to its symbols, and all such references are
    /// weak. A reference without a version may be to any library.
    #[must_use]
    pub fn is_optional(&self, library: &[u8]) -> bool {
        let meant = |version: Option<VersionRef<'_>>| version.is_none_or(|version| version.file == library);
        let mut weak = false;
        for import in self.imports.iter().filter(|import| meant(import.version)) {
            if import.strong {
                return false;
            }
            weak = true;
        }
        weak && Libc::named_by(library).is_none() && !self.copies.iter().any(|copy| meant(copy.version))
    }

    /// Adds a copy of a DT_NEEDED name, unless it is known.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn library(&mut self, name: &[u8]) -> Result<(), OutOfMemory> {
        let number = u32::try_from(self.libraries.len()).map_err(|_| OutOfMemory(usize::MAX))?;
        let hash = self.key.hash(name).fold();
        let Self { arena, libraries, by_name, .. } = self;
        let known = by_name.find_or_insert(arena, hash, number, is_in(libraries, name))?;
        if known.is_some() { Ok(()) } else { libraries.push(arena.copy(name)?) }
    }

    /// Forgets the DT_NEEDED names, but not which libc a library was found to name.
    pub(crate) fn forget_libraries(&mut self) {
        self.libraries.truncate(0);
        self.by_name.clear();
    }

    /// Makes names that are paths and depend on the current directory absolute. `directory` is that.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn place_below(&mut self, directory: &[u8]) -> Result<(), OutOfMemory> {
        let arena = self.arena;
        let place = |name: &mut &'a [u8]| -> Result<(), OutOfMemory> {
            if NEEDED.is_relative(name) {
                *name = NEEDED.absolute(arena, b"", name, directory)?;
            }
            Ok(())
        };
        self.libraries.iter_mut().try_for_each(place)?;
        let files =
            |version: Option<&mut VersionRef<'a>>| version.map_or(Ok(()), |version| place(&mut version.file));
        self.imports.iter_mut().try_for_each(|import| files(import.version.as_mut()))?;
        self.copies.iter_mut().try_for_each(|copy| files(copy.version.as_mut()))
    }

    /// Whether `name` is among the DT_NEEDED names.
    #[must_use]
    pub fn has_library(&self, name: &[u8]) -> bool {
        self.by_name.find(self.key.hash(name).fold(), is_in(&self.libraries, name)).is_some()
    }

    /// The number of a symbol, which is added if it is new. Its names are copied into the arena.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn import(
        &mut self,
        name: &[u8],
        version: Option<VersionRef<'_>>,
        sym: &Sym,
        referrer: usize,
    ) -> Result<u32, OutOfMemory> {
        let strong = st_bind(sym) != consts::STB_WEAK;
        let hash = self.hash(name, version);
        let known = self.by_import.find(hash, |number| {
            let import = self.imports.get(to_usize(number.into()));
            import.is_some_and(|import| import.name == name && import.version == version)
        });
        if let Some(number) = known {
            if let Some(import) = self.imports.get_mut(to_usize(number.into())) {
                import.strong |= strong;
                if referrer == 0 && is_canonical_plt(sym) {
                    import.canonical = Some(Vaddr(sym.st_value));
                }
                if import.st_type == consts::STT_NOTYPE {
                    import.st_type = st_type(sym);
                }
            }
            return Ok(number);
        }
        self.new_import(name, version, sym, referrer)
    }

    /// The number of a symbol that counts as new.
    ///
    /// # Errors
    /// No memory.
    pub fn new_import(
        &mut self,
        name: &[u8],
        version: Option<VersionRef<'_>>,
        sym: &Sym,
        referrer: usize,
    ) -> Result<u32, OutOfMemory> {
        let hash = self.hash(name, version);
        let strong = st_bind(sym) != consts::STB_WEAK;
        let number = u32::try_from(self.imports.len()).map_err(|_| OutOfMemory(usize::MAX))?;
        let version = self.keep(version)?;
        let name = self.arena.copy(name)?;
        let canonical = (referrer == 0 && is_canonical_plt(sym)).then_some(Vaddr(sym.st_value));
        self.imports.push(Import { name, version, st_type: st_type(sym), strong, referrer, canonical })?;
        self.by_import.insert(self.arena, hash, number)?;
        Ok(number)
    }

    fn hash(&self, name: &[u8], version: Option<VersionRef<'_>>) -> u32 {
        let name = self.key.hash(name);
        let hash = version.map_or(name, |VersionRef { file, version }| {
            self.key.extend(self.key.extend(name, 0, version), 0, file)
        });
        hash.fold()
    }

    /// Adds a word of an object for machine `M`. Decides, and returns, whether a first-call stub can stand in it until
    /// libc comes.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn slot<M: Machine>(
        &mut self,
        slot: Slot,
        kind: RelocKind,
        sym: &Sym,
        stubs: u64,
    ) -> Result<bool, OutOfMemory> {
        let why = why_eager::<M>(kind, sym, slot.addend)
            .or_else(|| (u64::from(slot.import) >= stubs).then_some(WhyEager::NoStub));
        self.slots.push(Slot { lazy: why.is_none(), ..slot })?;
        let import = self.imports.get(to_usize(slot.import.into()));
        if let (None, Some(why), Some(import)) = (self.eager, why, import) {
            self.eager = Some((import.name, why));
        }
        Ok(why.is_none())
    }

    /// Adds data to copy, for which libc can not wait.
    ///
    /// # Errors
    /// The arena has no memory left.
    pub fn copy(&mut self, copy: NativeCopy<'_>) -> Result<(), OutOfMemory> {
        let name = self.arena.copy(copy.name)?;
        let version = self.keep(copy.version)?;
        self.eager = self.eager.or(Some((name, WhyEager::Data)));
        let NativeCopy { module, st_info, size, vaddr, .. } = copy;
        self.copies.push(NativeCopy { name, version, module, st_info, size, vaddr })
    }

    /// A version whose names are copied into the arena.
    fn keep(&self, version: Option<VersionRef<'_>>) -> Result<Option<VersionRef<'a>>, OutOfMemory> {
        let Some(VersionRef { file, version }) = version else { return Ok(None) };
        Ok(Some(VersionRef { file: self.arena.copy(file)?, version: self.arena.copy(version)? }))
    }

    /// Number of symbols.
    #[must_use]
    pub fn count(&self) -> u64 {
        from_usize(self.imports.len())
    }
}

/// Whether a number is the index of `name` in `names`.
fn is_in<'l>(names: &'l [&[u8]], name: &'l [u8]) -> impl Fn(u32) -> bool + 'l {
    move |number| names.get(to_usize(number.into())) == Some(&name)
}

/// The reason, if any, why a reference can not wait for the first call of its symbol.
fn why_eager<M: Machine>(kind: RelocKind, sym: &Sym, addend: i64) -> Option<WhyEager> {
    match kind {
        RelocKind::TpOffset | RelocKind::DtpModule | RelocKind::DtpOffset | RelocKind::TlsDescriptor => {
            Some(WhyEager::Tls)
        }
        // AAELF64 and the RISC-V psABI require that of JUMP_SLOT. Through any other word the function may be called,
        // too.
        _ if M::is_variant(sym.st_other) => Some(WhyEager::Variant),
        // A PLT slot is only called, whatever the type of the symbol.
        RelocKind::JumpSlot if addend == 0 => None,
        RelocKind::JumpSlot => Some(WhyEager::Addend),
        _ if st_bind(sym) == consts::STB_WEAK => Some(WhyEager::Weak),
        _ => match st_type(sym) {
            consts::STT_FUNC | consts::STT_GNU_IFUNC if addend != 0 => Some(WhyEager::Addend),
            consts::STT_FUNC | consts::STT_GNU_IFUNC => None,
            consts::STT_NOTYPE => Some(WhyEager::Untyped),
            consts::STT_TLS => Some(WhyEager::Tls),
            _ => Some(WhyEager::Data),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{NativeNeeds, Slot, WhyEager};
    use crate::base::addr::Vaddr;
    use crate::base::arena::Arena;
    use crate::base::hash::Key;
    use crate::elf::Sym;
    use crate::elf::version::VersionRef;
    use crate::machine::{Aarch64, RelocKind, Riscv64, X86_64};

    use std::format;

    fn sym(bind: u8, kind: u8) -> Sym {
        Sym { st_name: 0, st_info: bind << 4 | kind, st_other: 0, st_shndx: 0, st_value: 0, st_size: 0 }
    }

    fn arena() -> Arena {
        Arena::new(crate::os::testing::leaking())
    }

    #[test]
    fn one_number_for_each_name_and_version() {
        let arena = arena();
        let mut needs = NativeNeeds::new(&arena, Key::new([1, 2]));
        for round in 0..2 {
            for index in 0..500u32 {
                let name = format!("symbol{index}");
                let number = needs.import(name.as_bytes(), None, &sym(1, 2), round).unwrap();
                assert_eq!(number, index);
            }
        }
        let version = VersionRef { file: b"libc.so.6", version: b"GLIBC_2.2.5" };
        assert_eq!(needs.import(b"symbol1", Some(version), &sym(1, 2), 0).unwrap(), 500);
        assert_eq!(needs.import(b"symbol1", Some(version), &sym(1, 2), 0).unwrap(), 500);
        assert_eq!(needs.imports[7].referrer, 0);
    }

    #[test]
    fn one_strong_reference_makes_it_strong() {
        let arena = arena();
        let mut needs = NativeNeeds::new(&arena, Key::new([1, 2]));
        needs.import(b"f", None, &sym(2, 0), 0).unwrap();
        assert!(!needs.imports[0].strong);
        needs.import(b"f", None, &sym(1, 2), 0).unwrap();
        assert!(needs.imports[0].strong);
        assert_eq!(needs.imports[0].st_type, 2);
    }

    #[test]
    fn what_can_not_wait() {
        use RelocKind::{Absolute, GlobDat, JumpSlot, TpOffset};
        for (kind, bind, st_type, addend, expected) in [
            (JumpSlot, 1, 0, 0, None),
            (JumpSlot, 2, 0, 0, None),
            (GlobDat, 1, 2, 0, None),
            (Absolute, 1, 10, 0, None),
            (Absolute, 1, 2, 8, Some(WhyEager::Addend)),
            (GlobDat, 1, 0, 0, Some(WhyEager::Untyped)),
            (GlobDat, 2, 2, 0, Some(WhyEager::Weak)),
            (GlobDat, 1, 1, 0, Some(WhyEager::Data)),
            (TpOffset, 1, 6, 0, Some(WhyEager::Tls)),
        ] {
            let arena = arena();
            let mut needs = NativeNeeds::new(&arena, Key::new([1, 2]));
            let slot = Slot { module: 0, vaddr: Vaddr(0), import: 0, r_type: 6, addend, lazy: false };
            needs.import(b"f", None, &sym(bind, st_type), 0).unwrap();
            assert_eq!(needs.slot::<X86_64>(slot, kind, &sym(bind, st_type), 1).unwrap(), expected.is_none());
            assert_eq!(needs.eager.map(|(_, why)| why), expected);
        }
    }

    #[test]
    fn variant_calling_conventions_can_not_wait() {
        use RelocKind::{Absolute, GlobDat, JumpSlot};
        let why = |variant: bool, slot: &dyn Fn(&mut NativeNeeds<'_>, Slot, &Sym) -> bool| {
            let arena = arena();
            let mut needs = NativeNeeds::new(&arena, Key::new([1, 2]));
            let sym = Sym { st_other: if variant { 0x80 } else { 0 }, ..sym(1, 2) };
            needs.import(b"f", None, &sym, 0).unwrap();
            let empty = Slot { module: 0, vaddr: Vaddr(0), import: 0, r_type: 0, addend: 0, lazy: false };
            let lazy = slot(&mut needs, empty, &sym);
            assert_eq!(lazy, needs.slots[0].lazy);
            needs.eager.map(|(_, why)| why)
        };
        for kind in [JumpSlot, GlobDat, Absolute] {
            let variant = Some(WhyEager::Variant);
            let of_aarch64 =
                |n: &mut NativeNeeds<'_>, slot, sym: &Sym| n.slot::<Aarch64>(slot, kind, sym, 1).unwrap();
            assert_eq!([why(false, &of_aarch64), why(true, &of_aarch64)], [None, variant]);
            let of_riscv64 =
                |n: &mut NativeNeeds<'_>, slot, sym: &Sym| n.slot::<Riscv64>(slot, kind, sym, 1).unwrap();
            assert_eq!([why(false, &of_riscv64), why(true, &of_riscv64)], [None, variant]);
            let of_x86_64 =
                |n: &mut NativeNeeds<'_>, slot, sym: &Sym| n.slot::<X86_64>(slot, kind, sym, 1).unwrap();
            assert_eq!([why(false, &of_x86_64), why(true, &of_x86_64)], [None, None]);
        }
    }

    #[test]
    fn a_library_that_only_weak_references_mean_may_be_missing() {
        let arena = arena();
        let mut needs = NativeNeeds::new(&arena, Key::new([1, 2]));
        let of = |file| Some(VersionRef { file, version: b"V" });
        assert!(!needs.is_optional(b"liba.so"), "nothing refers to it: it is needed for its own sake");
        needs.import(b"weak", of(b"liba.so"), &sym(2, 2), 0).unwrap();
        needs.import(b"strong", of(b"libb.so"), &sym(1, 2), 0).unwrap();
        assert!(
            needs.is_optional(b"liba.so") && !needs.is_optional(b"libb.so") && !needs.is_optional(b"libc.so.6")
        );
        needs.import(b"anywhere", None, &sym(1, 2), 0).unwrap();
        assert!(!needs.is_optional(b"liba.so"), "the strong one may be in it");
    }

    #[test]
    fn stubs_run_out() {
        let arena = arena();
        let mut needs = NativeNeeds::new(&arena, Key::new([1, 2]));
        for name in [&b"a"[..], b"b", b"c", b"d"] {
            needs.import(name, None, &sym(1, 2), 0).unwrap();
        }
        let slot = Slot { module: 0, vaddr: Vaddr(0), import: 3, r_type: 7, addend: 0, lazy: false };
        assert!(!needs.slot::<X86_64>(slot, RelocKind::JumpSlot, &sym(1, 2), 3).unwrap());
        assert_eq!(needs.eager, Some((&b"d"[..], WhyEager::NoStub)));
    }
}
