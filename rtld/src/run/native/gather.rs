//! The description of program and libraries for libc's ld.so, gathered from the loaded objects.
#![forbid(unsafe_code)]

use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::base::hash::Numbers;
use rtld::elf::allowance::NameAllowance;
use rtld::elf::consts;
use rtld::elf::symbol;
use rtld::error::Failure;
use rtld::link::namespace::Namespace;
use rtld::link::search::{PathRoom, ProgramPath, directory, entries};
use rtld::native::needs::{Import, NativeCopy};
use rtld::native::template::{CopyOf, Export};
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::run::process::Process;

/// The search path for native libraries, as tag and text: the program's DT_RUNPATH or DT_RPATH, then those of its
/// libraries, with `$ORIGIN` expanded. ld.so sees a single object that needs the native libraries, so the paths of all
/// objects are joined.
pub(crate) fn native_search(process: &Process) -> Result<Option<(u64, &'static [u8])>, Failure<'static>> {
    let Process { arena, ref sealed, program_path, secure, ref kept, .. } = *process;
    search_of(arena, &sealed.namespace, program_path, secure, kept.directory)
}

/// [`native_search`] of objects that are not relocated yet. What depends on the current directory is placed below `start`, if that
/// is given.
pub(crate) fn search_of(
    arena: &'static Arena,
    namespace: &Namespace<'static, MappedImage>,
    program_path: ProgramPath<'static>,
    secure: bool,
    start: Option<&[u8]>,
) -> Result<Option<(u64, &'static [u8])>, Failure<'static>> {
    let key = namespace.key();
    let (mut room, mut known) = (PathRoom::new(arena), Numbers::default());
    let mut directories: List<'static, &'static [u8]> = List::new(arena);
    for (index, module) in namespace.loaded() {
        let Some(offset) = module.dynamic.runpath.or(module.dynamic.rpath) else { continue };
        let list = module.dynamic.strings.get(&module.image, offset)?;
        let origin = match index {
            0 => program_path.origin_for(arena, [list].into_iter())?,
            _ => Some(directory(module.path)),
        };
        for entry in entries(list, false) {
            // A list can not contain a directory with a colon in its name.
            if !room.expand(entry, origin, secure)? || !room.place_below(start)? {
                continue;
            }
            if room.path().contains(&b':') {
                continue;
            }
            let number = u32::try_from(directories.len()).map_err(|_| OutOfMemory(usize::MAX))?;
            let is = |number: u32| directories.get(to_usize(number.into())).copied() == Some(room.path());
            if known.find_or_insert(arena, key.hash(room.path()).fold(), number, is)?.is_none() {
                directories.push(arena.copy(room.path())?)?;
            }
        }
    }
    let mut joined: List<'static, u8> = List::new(arena);
    for directory in directories.iter() {
        if !joined.is_empty() {
            joined.push(b':')?;
        }
        joined.extend(directory)?;
    }
    let joined = arena.copy(&joined)?;
    let program = namespace.module(0).dynamic;
    let tag = if program.rpath.is_some() { consts::DT_RPATH } else { consts::DT_RUNPATH };
    Ok((!joined.is_empty()).then_some((tag, joined)))
}

/// Types of symbols to which native libraries may bind.
const EXPORTED: [u8; 5] =
    [consts::STT_FUNC, consts::STT_OBJECT, consts::STT_NOTYPE, consts::STT_TLS, consts::STT_GNU_IFUNC];

/// The symbols to which native libraries may bind: the exports of program and libraries, except names that libc must
/// define itself.
pub(crate) fn exports(process: &'static Process) -> Result<List<'static, Export<'static>>, Failure<'static>> {
    let mut exports = List::new(process.arena);
    let copies = &process.sealed.natives.copies;
    for copy in copies.iter() {
        let at = process.sealed.namespace.module(copy.module).image.bias().runtime(copy.vaddr);
        let NativeCopy { name, st_info, size, .. } = *copy;
        exports.push(Export { name, st_info, at, size, copy: Some(CopyOf { version: copy.version }) })?;
    }
    for (_, module) in process.sealed.namespace.loaded() {
        let mut names = NameAllowance::of(&module.dynamic);
        for index in symbol::listed(&module.image, &module.dynamic)? {
            let sym = module.dynamic.symbols.get(&module.image, index)?;
            let kind = rtld::elf::st_type(&sym);
            if !EXPORTED.contains(&kind) || !symbol::is_exported(&sym) {
                continue;
            }
            let name = module.dynamic.strings.get(&module.image, sym.st_name.into())?;
            names.take(name.len())?;
            if libc_template::is_never_exported(name) {
                continue;
            }
            if copies.iter().any(|copy| copy.name == name) {
                continue;
            }
            let mut at = module.address(&sym);
            if kind == consts::STT_TLS {
                // An offset in the block, which is the template's PT_TLS.
                let (Some(place), Some(_)) = (module.tls, process.thread_local) else { continue };
                let Some(distance) = place.distance() else { continue };
                let start = process.sealed.tls.image_offset(distance);
                at = RuntimeAddr(start.wrapping_add(sym.st_value));
            }
            exports.push(Export { name, st_info: sym.st_info, at, size: sym.st_size, copy: None })?;
        }
    }
    Ok(exports)
}

/// Names of native libraries in link order, and symbols.
type Needs = (List<'static, &'static [u8]>, List<'static, Import<'static>>);

/// The needs that must be met. Optional libraries are opened later; versions of their symbols are left out, because
/// ld.so refuses a version whose file is not among the needed ones.
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
