//! Relocation entries -> words written through [`ImageMut`].
//!
//! Nothing is written but the word that an entry names, and only where the object is writable. Native
//! symbols get the address of a first-call stub and are noted in [`NativeNeeds`].
#![forbid(unsafe_code)]

use crate::addr::{RuntimeAddr, Vaddr};
use crate::arena::Arena;
use crate::elf::{Rela, Sym, consts, r_sym, r_type, st_bind};
use crate::error::{Error, OfObject, Problem};
use crate::machine::{Machine, Native, RelocKind};
use crate::namespace::{Definition, Namespace};
use crate::native::needs::{NativeNeeds, Slot};
use crate::seam::ImageMut;
use crate::symbol::{Name, is_exported};
use crate::version::{VersionRef, defines, for_each_needed, needed_version};

/// How first-call stubs follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StubLayout {
    /// Number of groups.
    pub groups: u64,
    /// Stubs in a group, a power of two.
    pub per_group: u64,
    /// Distance from one to the next in a group, in bytes.
    pub stride: u64,
    /// Distance from one group to the next, in bytes.
    pub group_stride: u64,
}

/// The first-call stubs of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stubs {
    /// Address of stub 0.
    pub start: RuntimeAddr,
    /// Where the others are.
    pub layout: StubLayout,
}

impl Stubs {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.layout.groups.saturating_mul(self.layout.per_group)
    }

    /// Address of a stub.
    #[must_use]
    pub fn address(&self, number: u32) -> RuntimeAddr {
        let StubLayout { per_group, stride, group_stride, .. } = self.layout;
        let number = u64::from(number);
        let group = number.checked_div(per_group).unwrap_or(0);
        let within = number.checked_rem(per_group).unwrap_or(0);
        let offset = group.wrapping_mul(group_stride).wrapping_add(within.wrapping_mul(stride));
        RuntimeAddr(self.start.0.wrapping_add(offset))
    }
}

/// What a reference means.
enum Target {
    /// Defined in this world.
    Defined(Definition),
    /// To be bound by the system's ld.so: the number of the import.
    Native(u32),
    /// Weak, and nobody defines it.
    Zero,
}

/// Relocates the modules of a namespace.
pub struct Relocator<'r, 'a, I> {
    /// The objects.
    pub namespace: &'r mut Namespace<'a, I>,
    /// Collects native symbols and slots.
    pub natives: &'r mut NativeNeeds<'a>,
    /// Stand in native function slots.
    pub stubs: Stubs,
    /// For names that outlive the image.
    pub arena: &'a Arena,
    /// What references told in passing.
    pub seen: Seen,
}

/// What the names of references tell about the objects that have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Some object refers to `__stack_chk_fail`: its code reads the canary from the TCB.
    pub canary: bool,
    /// Some object may ask for libc without naming any native symbol.
    pub libc_wanted: bool,
}

impl<'a, I: ImageMut> Relocator<'_, 'a, I> {
    /// Relocates all modules but the loader.
    pub fn run(&mut self) -> Result<(), Error<'a>> {
        self.check_versions()?;
        for index in 0..self.namespace.loaded().len() {
            let path = self.namespace.module(index).path;
            self.relative(index).of(path)?;
            let dynamic = self.namespace.module(index).dynamic;
            for table in [dynamic.rela, dynamic.jmprel] {
                for entry in 0..table.len() {
                    if let Some(rela) = table.get(&self.namespace.module(index).image, entry) {
                        self.entry(index, path, &rela)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Each version that some module needs of another has to be there, whether or not a symbol asks for it.
    fn check_versions(&self) -> Result<(), Error<'a>> {
        for module in self.namespace.loaded() {
            let visit = |needed: VersionRef<'_>, optional: bool| {
                let mut all = self.namespace.all().iter();
                // Files of the other world are libc's to check.
                let Some(definer) = all.find(|definer| definer.soname == needed.file) else { return Ok(()) };
                if optional || defines(&definer.image, &definer.dynamic, needed.version)? {
                    return Ok(());
                }
                let version = self.arena.copy(needed.version)?;
                Err(Problem::VersionNotFound { file: definer.soname, version })
            };
            for_each_needed(&module.image, &module.dynamic, visit).of(module.path)?;
        }
        Ok(())
    }

    fn write(&mut self, index: usize, rela: &Rela, value: u64) -> Result<(), Problem<'a>> {
        let at = Vaddr(rela.r_offset);
        let written = self.namespace.module_mut(index).image.write_word(at, value);
        written.ok_or(Problem::RelocationOutside { r_type: r_type(rela), at })
    }

    /// DT_RELR (gABI): an even entry is an address to relocate, an odd one a bitmap of the 63 words after it.
    fn relative(&mut self, index: usize) -> Result<(), Problem<'a>> {
        let module = self.namespace.module_mut(index);
        let bias = module.image.bias().0;
        let relocate = |image: &mut I, at: u64| {
            let outside = Problem::RelocationOutside { r_type: RELR, at: Vaddr(at) };
            let value: u64 = image.get(Vaddr(at)).ok_or(outside)?;
            image.write_word(Vaddr(at), value.wrapping_add(bias)).ok_or(outside)
        };
        let mut next = 0u64;
        for entry in 0..module.dynamic.relr.len() {
            let Some(word) = module.dynamic.relr.get(&module.image, entry) else { break };
            if word & 1 == 0 {
                relocate(&mut module.image, word)?;
                next = word.wrapping_add(8);
                continue;
            }
            for bit in 1..64u64 {
                if word >> bit & 1 != 0 {
                    relocate(&mut module.image, next.wrapping_add(bit.wrapping_sub(1).wrapping_mul(8)))?;
                }
            }
            next = next.wrapping_add(63 * 8);
        }
        Ok(())
    }

    fn entry(&mut self, index: usize, path: &'a [u8], rela: &Rela) -> Result<(), Error<'a>> {
        let bias = self.namespace.module(index).image.bias().0;
        let addend = rela.r_addend.cast_unsigned();
        let at = Vaddr(rela.r_offset);
        let kind = Native::kind(r_type(rela)).ok_or(Problem::Relocation { r_type: r_type(rela), at }).of(path)?;
        let value = match kind {
            RelocKind::None => return Ok(()),
            RelocKind::Relative => bias.wrapping_add(addend),
            RelocKind::TpOffset if r_sym(rela) == 0 => self.tp_offset(index, 0, addend).of(path)?,
            _ => self.symbolic(index, path, rela, kind)?,
        };
        self.write(index, rela, value).of(path)
    }

    fn symbolic(&mut self, index: usize, path: &'a [u8], rela: &Rela, kind: RelocKind) -> Result<u64, Error<'a>> {
        let addend = match kind {
            // The psABI's S, without A; what linkers leave in r_addend means nothing.
            RelocKind::GlobDat | RelocKind::JumpSlot => 0,
            _ => rela.r_addend.cast_unsigned(),
        };
        // STN_UNDEF has the value 0 (gABI, Symbol Table).
        if r_sym(rela) == 0 {
            return Ok(addend);
        }
        let module = self.namespace.module(index);
        let sym = module.dynamic.symbols.get(&module.image, r_sym(rela)).of(path)?;
        match self.resolve(index, path, r_sym(rela), &sym)? {
            Target::Defined(definition) if kind == RelocKind::TpOffset => {
                self.tp_offset(definition.module, definition.sym.st_value, addend).of(path)
            }
            Target::Defined(definition) => match self.namespace.address(&definition) {
                Ok(address) => Ok(address.0.wrapping_add(addend)),
                Err(why) => {
                    Err(Problem::SymbolKind { symbol: self.copy_name(index, &sym).of(path)?, why }).of(path)
                }
            },
            Target::Native(import) => {
                let slot = Slot {
                    module: index,
                    vaddr: Vaddr(rela.r_offset),
                    import,
                    r_type: r_type(rela),
                    addend: addend.cast_signed(),
                    lazy: false,
                };
                let lazy = self.natives.slot(slot, kind, &sym, self.stubs.count()).of(path)?;
                // What can not wait is 0 until ld.so has filled it, which is before the program's entry.
                Ok(if lazy { self.stubs.address(import).0 } else { 0 })
            }
            Target::Zero => Ok(addend),
        }
    }

    fn copy_name(&self, index: usize, sym: &Sym) -> Result<&'a [u8], Problem<'a>> {
        let module = self.namespace.module(index);
        let name = module.dynamic.strings.get(&module.image, u64::from(sym.st_name))?;
        Ok(self.arena.copy(name)?)
    }

    fn resolve(&mut self, index: usize, path: &'a [u8], number: u32, sym: &Sym) -> Result<Target, Error<'a>> {
        let module = self.namespace.module(index);
        let local = st_bind(sym) == consts::STB_LOCAL;
        if local || (u32::from(sym.st_shndx) != consts::SHN_UNDEF && !is_exported(sym)) {
            return Ok(Target::Defined(Definition { module: index, sym: *sym }));
        }
        let bytes = module.dynamic.strings.get(&module.image, u64::from(sym.st_name)).of(path)?;
        self.seen.canary |= bytes == b"__stack_chk_fail";
        self.seen.libc_wanted |= bytes == b"slul_load_libc";
        let version = needed_version(&module.image, &module.dynamic, number).of(path)?;
        let native_file = version.is_some_and(|version| self.natives.libraries.contains(&version.file));
        let name = Name::versioned(bytes, version.map(|version| version.version));
        if !native_file && let Some(definition) = self.namespace.lookup(&name)? {
            return Ok(Target::Defined(definition));
        }
        if self.natives.any() {
            // ld.so asserts that a version's file is among those that it was told to load.
            let version = version.filter(|_| native_file);
            return self.natives.import(bytes, version, sym, index).of(path).map(Target::Native);
        }
        if st_bind(sym) == consts::STB_WEAK {
            return Ok(Target::Zero);
        }
        Err(Problem::UndefinedSymbol(self.copy_name(index, sym).of(path)?)).of(path)
    }

    fn tp_offset(&self, module: usize, value: u64, addend: u64) -> Result<u64, Problem<'a>> {
        let offset = self.namespace.module(module).tls_offset;
        let offset = offset.ok_or(Problem::Unsupported("thread-local symbol of an object without PT_TLS"))?;
        Ok(value.wrapping_add(addend).wrapping_sub(offset))
    }
}

/// DT_RELR entries have no type; in a message they count as R_X86_64_RELATIVE.
const RELR: u32 = crate::elf::r_x86_64::R_X86_64_RELATIVE;
