//! The check that each version exists that an object needs of another, whether or not a symbol refers to it.
#![forbid(unsafe_code)]

use crate::base::addr::to_usize;
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::base::hash::Numbers;
use crate::elf::version::{VersionRef, defined, for_each_needed};
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::namespace::{Module, Namespace};
use crate::os::seam::Image;

/// Number of modules up to which a walk over them is as fast as a table.
const FEW: usize = 8;

/// The versions that modules define.
struct DefinedVersions<'r, 's, 'a, I> {
    namespace: &'r Namespace<'a, I>,
    scratch: &'s Arena,
    /// Modules by soname; empty where they are few.
    sonames: Numbers<'s>,
    /// Whether the versions of a module are in the table, by its number.
    read: List<'s, bool>,
    /// Versions: number of the module, and offset of the name in its string table.
    versions: List<'s, (usize, u32)>,
    numbers: Numbers<'s>,
}

/// Checks the versions that `modules` need. Names for an error are copied into `arena`.
pub(super) fn check<'a, I: Image>(
    namespace: &Namespace<'a, I>,
    modules: &[usize],
    arena: &'a Arena,
    scratch: &Arena,
) -> Result<(), Error<'a>> {
    if modules.iter().all(|&index| namespace.module(index).dynamic.verneed.is_none()) {
        return Ok(());
    }
    let mut versions = DefinedVersions {
        namespace,
        scratch,
        sonames: Numbers::default(),
        read: List::new(scratch),
        versions: List::new(scratch),
        numbers: Numbers::default(),
    };
    versions.name_modules().of(namespace.module(0).path)?;
    for &index in modules {
        let module = namespace.module(index);
        let visit = |needed: VersionRef<'_>, optional: bool| {
            // Versions of native files are for ld.so to check.
            let Some((definer, module)) = versions.named(needed.file) else { return Ok(()) };
            // A library without any versions is accepted, as by musl: the object was linked when the library had some.
            // glibc warns, and ends the process at the first lookup in the library.
            if optional || module.dynamic.verdef.is_none() || versions.defines(definer, module, needed.version)? {
                return Ok(());
            }
            let version = arena.copy(needed.version)?;
            Err(Problem::VersionNotFound { file: module.soname, version }.into())
        };
        for_each_needed(&module.image, &module.dynamic, visit).of(module.path)?;
    }
    Ok(())
}

impl<'r, 'a, I: Image> DefinedVersions<'r, '_, 'a, I> {
    fn name_modules(&mut self) -> Result<(), OutOfMemory> {
        if self.namespace.bound() <= FEW {
            return Ok(());
        }
        for (index, module) in self.namespace.all().filter(|(_, module)| module.is_available()) {
            if self.named(module.soname).is_none() {
                let hash = self.namespace.key().hash(module.soname).fold();
                let number = u32::try_from(index).map_err(|_| OutOfMemory(usize::MAX))?;
                self.sonames.insert(self.scratch, hash, number)?;
            }
        }
        Ok(())
    }

    /// The module with that soname.
    fn named(&self, soname: &[u8]) -> Option<(usize, &'r Module<'a, I>)> {
        if self.namespace.bound() <= FEW {
            return self.namespace.all().find(|(_, module)| module.soname == soname && module.is_available());
        }
        let module = |number: u32| self.namespace.get(to_usize(number.into()));
        let is = |number: u32| module(number).is_some_and(|module| module.soname == soname);
        let number = self.sonames.find(self.namespace.key().hash(soname).fold(), is)?;
        Some((to_usize(number.into()), module(number)?))
    }

    /// Whether module `index` defines a version.
    fn defines(&mut self, index: usize, module: &Module<'a, I>, version: &[u8]) -> Result<bool, Failure<'static>> {
        let Module { image, dynamic, .. } = module;
        let key = self.namespace.key();
        let hash = |version: &[u8]| key.extend(key.hash(module.path), 0, version).fold();
        self.read.resize(self.namespace.bound(), false)?;
        if let Some(read @ false) = self.read.get_mut(index) {
            *read = true;
            defined(image, dynamic, |_, name| {
                let number = u32::try_from(self.versions.len()).map_err(|_| OutOfMemory(usize::MAX))?;
                self.versions.push((index, name))?;
                self.numbers.insert(self.scratch, hash(dynamic.strings.get(image, name.into())?), number)?;
                Ok(false)
            })?;
        }
        let known = self.numbers.find(hash(version), |number| {
            let known = self.versions.get(to_usize(number.into()));
            known.is_some_and(|&(of, name)| {
                of == index && dynamic.strings.is(image, name.into(), version) == Ok(true)
            })
        });
        Ok(known.is_some())
    }
}
