//! PLT slots that waited for their first call: the function is looked up again, because it may have been opened since.
#![forbid(unsafe_code)]

use crate::base::addr::Vaddr;
use crate::base::arena::Arena;
use crate::elf::symbol::Name;
use crate::elf::version::{NeededVersions, VersionRef};
use crate::elf::{r_sym, r_type};
use crate::error::{Error, Failure, OWN, OfObject, Problem};
use crate::link::namespace::Namespace;
use crate::link::reloc::WaitingSlot;
use crate::os::seam::Image;

/// The reference of a PLT slot that waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Path of the module.
    pub path: &'a [u8],
    /// Address of the slot in it.
    pub at: Vaddr,
    /// Name of the function.
    pub name: &'a [u8],
    /// The version of the reference, and the file that is to define it.
    pub version: Option<VersionRef<'a>>,
}

impl<'a> Waiting<'a> {
    /// The reference of a slot. Its texts are in `arena`.
    ///
    /// # Errors
    /// A PLT has pushed the number of no relocation; a table is broken; out of memory.
    pub fn of<I: Image>(
        namespace: &Namespace<'_, I>,
        slot: WaitingSlot,
        arena: &'a Arena,
    ) -> Result<Self, Error<'a>> {
        let Some(module) = namespace.get(slot.module) else { return Err(Problem::NotOpen).of(OWN) };
        let path = arena.copy(module.path).of(OWN)?;
        let (image, dynamic) = (&module.image, &module.dynamic);
        let none = Problem::Relocation { r_type: 0, at: Vaddr(slot.entry) };
        let rela = dynamic.jmprel.get(image, slot.entry).ok_or(none).of(path)?;
        let at = Vaddr(rela.r_offset);
        if r_sym(&rela) == 0 {
            return Err(Problem::NoSymbol { r_type: r_type(&rela), at }).of(path);
        }
        let read = || -> Result<Self, Failure<'a>> {
            let mut versions = NeededVersions::new(arena);
            versions.read(image, dynamic)?;
            let symbol = dynamic.symbols.get(image, r_sym(&rela))?;
            let name = arena.copy(dynamic.strings.get(image, symbol.st_name.into())?)?;
            let version = match versions.of(image, dynamic, r_sym(&rela))? {
                Some(VersionRef { file, version }) => {
                    Some(VersionRef { file: arena.copy(file)?, version: arena.copy(version)? })
                }
                None => None,
            };
            Ok(Self { path, at, name, version })
        };
        read().of(path)
    }

    /// The name to look up.
    #[must_use]
    pub fn name(&self) -> Name<'a> {
        Name::versioned(self.name, self.version.map(|version| version.version))
    }

    /// The error that nobody defines the function.
    #[must_use]
    pub fn undefined(&self) -> Error<'a> {
        Error::new(
            self.path,
            match self.version {
                Some(VersionRef { file, version }) => {
                    Problem::UndefinedVersion { symbol: self.name, version, file }
                }
                None => Problem::UndefinedSymbol(self.name),
            },
        )
    }
}
