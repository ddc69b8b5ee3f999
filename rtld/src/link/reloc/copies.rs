//! COPY relocations: the program has room for data of a library. The program's copy is the definition for all objects,
//! and starts with the library's contents.
#![forbid(unsafe_code)]

use crate::base::addr::Vaddr;
use crate::elf::symbol::Name;
use crate::elf::version::VersionRef;
use crate::elf::{Rela, consts, r_sym, r_type, st_bind};
use crate::error::{Error, OfObject, Problem, Table};
use crate::link::reloc::finder::Among;
use crate::link::reloc::relocator::{CopyLater, Indirect, Relocator};
use crate::native::needs::NativeCopy;
use crate::os::seam::ImageMut;

impl<'a, I: ImageMut> Relocator<'_, 'a, I> {
    pub(super) fn copy(&mut self, copy: &CopyLater) -> Result<(), Error<'a>> {
        let ((to, at), (from, source)) = (copy.to, copy.from);
        let definer = self.namespace.module(from);
        let outside = Problem::OutsideImage { table: Table::Symbols, vaddr: source };
        let bytes = definer.image.bytes(source, copy.size).ok_or(outside).of(definer.path)?;
        let bytes = self.arena.copy(bytes).of(definer.path)?;
        let module = self.namespace.module_mut(to);
        let written = module.image.write(at, bytes);
        written.ok_or(Problem::RelocationOutside { r_type: copy.r_type, at }).of(module.path)?;
        // Words in it that wait for a resolver wait in the copy, too.
        for index in 0..self.indirect.len() {
            let Some(&word) = self.indirect.get(index).filter(|word| word.module == from) else { continue };
            let into = word.at.0.wrapping_sub(source.0);
            if into.checked_add(8).is_some_and(|end| end <= copy.size) {
                let at = Vaddr(at.0.wrapping_add(into));
                self.indirect.push(Indirect { module: to, at, ..word }).of(self.namespace.module(to).path)?;
            }
        }
        Ok(())
    }

    /// The source of a COPY relocation: the first definition outside of the object itself. `None` if the symbol is weak
    /// without a definition, or native.
    pub(super) fn copy_source(
        &mut self,
        index: usize,
        path: &'a [u8],
        rela: &Rela,
    ) -> Result<Option<CopyLater>, Error<'a>> {
        let module = self.namespace.module(index);
        let sym = module.dynamic.symbols.get(&module.image, r_sym(rela)).of(path)?;
        let name = module.dynamic.strings.get(&module.image, u64::from(sym.st_name)).of(path)?;
        let version = self.versions.of(&module.image, &module.dynamic, r_sym(rela)).of(path)?;
        self.names.take(name.len()).of(path)?;
        let name = Name::versioned(name, version.map(|version| version.version));
        let found = self.finder.find(self.namespace, &self.objects, index, &name, Among::Others)?;
        let is_native = |version: &VersionRef<'_>| self.natives.has_library(version.file);
        let ours = version.filter(|version| !is_native(version) && self.is_of_this_world(index, version.file));
        let problem = match found {
            Some(found) => {
                let to = (index, Vaddr(rela.r_offset));
                let from = (found.module, Vaddr(found.sym.st_value));
                let size = sym.st_size.min(found.sym.st_size);
                return Ok(Some(CopyLater { to, from, size, r_type: r_type(rela) }));
            }
            None if self.natives.any() && module.opened.is_none() && ours.is_none() => {
                // ld.so asserts that the file of each version is among the files that it was told to load.
                let version = version.filter(is_native);
                let vaddr = Vaddr(rela.r_offset);
                let copy = NativeCopy {
                    name: name.bytes,
                    version,
                    module: index,
                    st_info: sym.st_info,
                    size: sym.st_size,
                    vaddr,
                };
                self.natives.copy(copy).of(path)?;
                return Ok(None);
            }
            None if st_bind(&sym) == consts::STB_WEAK => return Ok(None),
            None => self.undefined(index, r_sym(rela), ours).of(path)?,
        };
        Err(problem).of(path)
    }
}
