//! The template of this process: what it is made of, gathered from what was loaded.

use core::ptr::NonNull;

use libc_template::{Libc, MERGED_GLIBC_VERSION, SPLIT_GLIBC_SONAMES};
use rtld::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::arena::{List, OutOfMemory};
use rtld::elf::{Phdr, consts};
use rtld::error::Problem;
use rtld::load::Mapped;
use rtld::mapped::MappedImage;
use rtld::native::describe::{Place, describe};
use rtld::native::needs::{Import, NativeCopy};
use rtld::native::template::{Binding, CopyOf, Export, Parts, Template, TlsSnapshot};
use rtld::report::Category;
use rtld::seam::Image;
use rtld::search::{directory, entries, expand};
use rtld::symbol;

use super::process::{Process, ThreadLocal};
use super::{binding, bogomap, start};

/// Where to search for native libraries: the program's DT_RUNPATH or DT_RPATH, then those of its libraries, with
/// `$ORIGIN` expanded. ld.so knows only one object that needs them, so what each would have for its own is joined.
pub(crate) fn native_search(process: &Process) -> Result<Option<(u64, &'static [u8])>, Problem<'static>> {
    let arena = process.arena;
    let mut joined: &'static [u8] = b"";
    for (index, module) in process.sealed.namespace.loaded() {
        let Some(offset) = module.dynamic.runpath.or(module.dynamic.rpath) else { continue };
        let list = module.dynamic.strings.get(&module.image, offset)?;
        let path = if index == 0 { process.program_path } else { Some(module.path) };
        for entry in entries(list, false) {
            // A directory with a colon in its name can not be said in a list.
            let expanded = expand(arena, entry, path.map(directory), process.secure)?;
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
fn exports(process: &Process) -> Result<List<'static, Export<'static>>, Problem<'static>> {
    let mut exports = List::new(process.arena);
    let copies = &process.sealed.natives.copies;
    for copy in copies.iter() {
        let at = process.sealed.namespace.module(copy.module).image.bias().runtime(copy.vaddr);
        let NativeCopy { name, st_info, size, .. } = *copy;
        exports.push(Export { name, st_info, at, size, copy: Some(CopyOf { version: copy.version }) })?;
    }
    for (_, module) in process.sealed.namespace.loaded() {
        for index in 1..symbol::count(&module.image, &module.dynamic)? {
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
                // An offset in the template's PT_TLS, which ends at the thread pointer.
                let (Some(place), Some(live)) = (module.tls, process.thread_local) else { continue };
                let start = from_usize(live.size).wrapping_sub(place.offset);
                at = RuntimeAddr(start.wrapping_add(sym.st_value));
            }
            let name = process.arena.copy(name)?;
            exports.push(Export { name, st_info: sym.st_info, at, size: sym.st_size, copy: None })?;
        }
    }
    Ok(exports)
}

/// Writes the template, and says what it is.
pub(crate) fn write(
    process: &'static Process,
    libc: Libc,
    ld_so: &Mapped<MappedImage>,
    search: Option<(u64, &'static [u8])>,
) -> Result<(Template<'static>, Option<NonNull<u8>>), Problem<'static>> {
    let arena = process.arena;
    let natives = &process.sealed.natives;
    let namespace = &process.sealed.namespace;
    let mut phdrs = List::<Phdr>::new(arena);
    process.block.program_headers().try_for_each(|phdr| phdrs.push(phdr))?;
    let mut bindings = List::new(arena);
    for slot in natives.slots.iter().filter(|slot| !slot.lazy) {
        let at = namespace.module(slot.module).image.bias().runtime(slot.vaddr);
        bindings.push(Binding { at, import: slot.import, r_type: slot.r_type, addend: slot.addend })?;
    }
    let (tls, snapshot) = match process.thread_local {
        Some(live) => {
            let (buffer, at) = snapshot_buffer(process, libc, &live)?;
            let tls = TlsSnapshot { at, size: from_usize(live.size), align: from_usize(live.align) };
            (Some(tls), Some(buffer))
        }
        None => (None, None),
    };
    let exports = exports(process)?;
    let strings = ld_so.dynamic.strings.place();
    let names = ld_so.image.bytes(strings.vaddr, strings.size).unwrap_or_default();
    let merged = names.windows(MERGED_GLIBC_VERSION.len()).any(|name| name == MERGED_GLIBC_VERSION);
    let split = libc == Libc::Gnu && !merged;
    // What may be missing is opened afterwards; ld.so wants to hear of no version of a file that it is not to load.
    let optional = |name: &[u8]| natives.is_optional(name);
    let mut libraries = List::new(arena);
    natives.libraries.iter().filter(|name| !optional(name)).try_for_each(|&name| libraries.push(name))?;
    let mut imports = List::new(arena);
    for import in natives.imports.iter() {
        let version = import.version.filter(|version| !optional(version.file));
        imports.push(Import { version, ..*import })?;
    }
    let parts = Parts {
        bias: namespace.module(0).image.bias(),
        phdrs: &phdrs,
        interpreter: libc.interpreter(),
        libraries: &libraries,
        extra_libraries: if split { &SPLIT_GLIBC_SONAMES } else { &[] },
        search,
        imports: &imports,
        bindings: &bindings,
        targets: binding::addresses(),
        loader_targets: RuntimeAddr::of(&raw const start::LOADER_TARGETS),
        exports: &exports,
        tls,
        hook: RuntimeAddr::of(bogomap::preinit as *const ()),
    };
    if process.trace.wants(Category::Libc) {
        describe(&parts, |at| locate(process, at), process.trace);
    }
    Ok((rtld::native::template::build(arena, &parts)?, snapshot))
}

/// Room for a copy of the thread-local block, where libc takes it for aligned. glibc goes by the vaddr of PT_TLS, musl
/// by its address; where the block is aligned to more than a page the program's bias may tell the two apart.
fn snapshot_buffer(
    process: &'static Process,
    libc: Libc,
    live: &ThreadLocal,
) -> Result<(NonNull<u8>, RuntimeAddr), OutOfMemory> {
    let buffer = process.arena.bytes(live.size.saturating_add(live.align), 16)?;
    let start = RuntimeAddr::of(buffer.as_mut_ptr());
    let position = match libc {
        Libc::Gnu => process.sealed.namespace.module(0).image.bias().vaddr(start).0,
        Libc::Musl => start.0,
    };
    let misfit = position.wrapping_neg() & from_usize(live.align).saturating_sub(1);
    let aligned = buffer.get_mut(to_usize(misfit)..).ok_or(OutOfMemory(live.size))?;
    Ok((NonNull::from(aligned).cast(), RuntimeAddr(start.0.wrapping_add(misfit))))
}

fn locate(process: &Process, at: RuntimeAddr) -> Place<'_> {
    match process.locate(at) {
        Some((module, vaddr)) => {
            let name = module.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            Place { object: name, vaddr: vaddr.0 }
        }
        None => Place { object: b"?", vaddr: at.0 },
    }
}
