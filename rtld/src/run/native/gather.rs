//! What libc's ld.so is to be told of program and libraries, gathered from what was loaded.
#![forbid(unsafe_code)]

use rtld::base::addr::RuntimeAddr;
use rtld::base::arena::{List, OutOfMemory};
use rtld::elf::consts;
use rtld::elf::symbol;
use rtld::error::Failure;
use rtld::link::search::{directory, entries, expand};
use rtld::native::needs::{Import, NativeCopy};
use rtld::native::template::{CopyOf, Export};
use rtld::os::seam::Image;

use crate::run::process::Process;

/// Where to search for native libraries: the program's DT_RUNPATH or DT_RPATH, then those of its libraries, with
/// `$ORIGIN` expanded. ld.so knows only one object that needs them, so what each would have for its own is joined.
pub(crate) fn native_search(process: &Process) -> Result<Option<(u64, &'static [u8])>, Failure<'static>> {
    let arena = process.arena;
    let mut joined: &'static [u8] = b"";
    for (index, module) in process.sealed.namespace.loaded() {
        let Some(offset) = module.dynamic.runpath.or(module.dynamic.rpath) else { continue };
        let list = module.dynamic.strings.get(&module.image, offset)?;
        let origin = match index {
            0 => process.program_path.origin_for(arena, [list].into_iter())?,
            _ => Some(directory(module.path)),
        };
        for entry in entries(list, false) {
            // A directory with a colon in its name can not be said in a list.
            let expanded = expand(arena, entry, origin, process.secure)?;
            let known = |directory: &[u8]| entries(joined, false).any(|entry| entry == directory);
            if let Some(directory) = expanded.filter(|found| !found.contains(&b':') && !known(found)) {
                let separator: &[u8] = if joined.is_empty() { b"" } else { b":" };
                joined = arena.concat(&[joined, separator, directory])?;
            }
        }
    }
    let program = process.sealed.namespace.module(0).dynamic;
    let tag = if program.rpath.is_some() { consts::DT_RPATH } else { consts::DT_RUNPATH };
    Ok((!joined.is_empty()).then_some((tag, joined)))
}

/// Kinds of symbols that native libraries may bind to.
const EXPORTED: [u8; 5] =
    [consts::STT_FUNC, consts::STT_OBJECT, consts::STT_NOTYPE, consts::STT_TLS, consts::STT_GNU_IFUNC];

/// What native libraries may bind to: what program and libraries export, but for what libc must have itself.
pub(crate) fn exports(process: &'static Process) -> Result<List<'static, Export<'static>>, Failure<'static>> {
    let mut exports = List::new(process.arena);
    let copies = &process.sealed.natives.copies;
    for copy in copies.iter() {
        let at = process.sealed.namespace.module(copy.module).image.bias().runtime(copy.vaddr);
        let NativeCopy { name, st_info, size, .. } = *copy;
        exports.push(Export { name, st_info, at, size, copy: Some(CopyOf { version: copy.version }) })?;
    }
    for (_, module) in process.sealed.namespace.loaded() {
        for index in symbol::listed(&module.image, &module.dynamic)? {
            let sym = module.dynamic.symbols.get(&module.image, index)?;
            let kind = rtld::elf::st_type(&sym);
            if !EXPORTED.contains(&kind) || !symbol::is_exported(&sym) {
                continue;
            }
            let name = module.dynamic.strings.get(&module.image, sym.st_name.into())?;
            if libc_template::NEVER_EXPORTED.contains(&name) || libc_template::LOADER_IMPORTS.contains(&name) {
                continue;
            }
            if copies.iter().any(|copy| copy.name == name) {
                continue;
            }
            let mut at = module.address(&sym);
            if kind == consts::STT_TLS {
                // An offset in the template's PT_TLS, which is the block.
                let (Some(place), Some(_)) = (module.tls, process.thread_local) else { continue };
                let start = process.sealed.tls.image_offset(place.distance);
                at = RuntimeAddr(start.wrapping_add(sym.st_value));
            }
            exports.push(Export { name, st_info: sym.st_info, at, size: sym.st_size, copy: None })?;
        }
    }
    Ok(exports)
}

/// Native libraries in link order, and symbols.
type Needs = (List<'static, &'static [u8]>, List<'static, Import<'static>>);

/// What has to be there. What may be missing is opened afterwards; ld.so wants to hear of no version of a file that it is
/// not to load.
pub(crate) fn needs(process: &Process) -> Result<Needs, OutOfMemory> {
    let natives = &process.sealed.natives;
    let optional = |name: &[u8]| natives.is_optional(name);
    let mut libraries = List::new(process.arena);
    natives.libraries.iter().filter(|name| !optional(name)).try_for_each(|&name| libraries.push(name))?;
    let mut imports = List::new(process.arena);
    for import in natives.imports.iter() {
        let version = import.version.filter(|version| !optional(version.file));
        imports.push(Import { version, ..*import })?;
    }
    Ok((libraries, imports))
}
