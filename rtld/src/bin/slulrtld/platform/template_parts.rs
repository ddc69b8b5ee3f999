//! The template of this process: its parts are gathered from the loaded objects, and written.

use core::iter;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use abi::libcs::Libc;
use libc_template::{LOADER_IMPORTS, MERGED_GLIBC_VERSION, SPLIT_GLIBC_SONAMES, START_IMPORTS};
use rtld::base::addr::Vaddr;
use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{List, OutOfMemory};
use rtld::base::report::Category;
use rtld::elf::Phdr;
use rtld::elf::symbol::Name;
use rtld::elf::version::Wanted;
use rtld::error::Failure;
use rtld::link::file::Mapped;
use rtld::link::namespace::{Definition, Module, Namespace};
use rtld::machine::Native;
use rtld::native::describe::{PlaceInObject, describe};
use rtld::native::template::{Binding, Export, Recipe, Template, TlsSnapshot};
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::platform::hook::preinit;
use crate::platform::thread_local::{Snapshot, ThreadLocal};
use crate::run::native::binding::ADDRESSES;
use crate::run::native::gather::{exports, needs};
use crate::run::native::libc::LOADER_TARGETS;
use crate::run::open::runtime;
use crate::run::process::Process;

/// Writes the template; describes it in the trace. Also returns the buffer for the snapshot of the thread-local block.
pub(crate) fn write(
    process: &'static Process,
    libc: Libc,
    ld_so: &Mapped<MappedImage>,
    search: Option<(u64, &'static [u8])>,
) -> Result<(Template<'static>, Snapshot), Failure<'static>> {
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
            let (initial, size) = process.sealed.tls_ends();
            // Zeros are not copied, of which a program may have many: neither here nor by libc.
            let file_size = to_usize(initial).max(live.end_of_values()).min(live.size);
            let (buffer, at) = snapshot_buffer(process, libc, &live, file_size)?;
            let (file_size, align) = (from_usize(file_size), from_usize(live.align));
            let tls = TlsSnapshot { at, file_size, size: size.max(file_size), align };
            (Some(tls), Some(buffer))
        }
        None => (None, None),
    };
    let mut exports = exports(process)?;
    if runtime::any(process) {
        walkers(namespace, &mut exports)?;
    }
    let split = libc == Libc::Gnu && !is_merged(ld_so)?;
    let (needed, imports) = needs(process)?;
    // libc's dlopen(3) and its relatives are needed if the program has or opens libraries, and for optional native
    // libraries.
    let opens = runtime::any(process) || needed.len() != natives.libraries.len();
    let loader_imports =
        if opens { &LOADER_IMPORTS[..] } else { LOADER_IMPORTS.get(..START_IMPORTS).unwrap_or_default() };
    let parts = Recipe {
        bias: namespace.module(0).image.bias(),
        phdrs: &phdrs,
        interpreter: libc.interpreter(),
        libraries: &needed,
        extra_libraries: if split { &SPLIT_GLIBC_SONAMES } else { &[] },
        search,
        imports: &imports,
        bindings: &bindings,
        targets: RuntimeAddr::of(ADDRESSES.load(Ordering::Relaxed)),
        loader_imports,
        loader_targets: RuntimeAddr::of(LOADER_TARGETS.load(Ordering::Relaxed)),
        exports: &exports,
        tls,
        hook: RuntimeAddr::of(preinit as *const ()),
    };
    if process.trace.wants(Category::Libc) {
        describe(&parts, |at| locate(process, at), process.trace);
    }
    Ok((rtld::native::template::build::<Native>(arena, &parts)?, snapshot))
}

/// Adds the functions by which native code finds objects: the loader's, which know those of both worlds.
fn walkers(
    namespace: &Namespace<'static, MappedImage>,
    exports: &mut List<'static, Export<'static>>,
) -> Result<(), OutOfMemory> {
    let Some((index, loader)) = namespace.all().last() else { return Ok(()) };
    for (name, own) in [(&b"dl_iterate_phdr"[..], &b"dl_iterate_phdr"[..]), (b"dladdr", b"slul_dladdr")] {
        let found = namespace.lookup(&mut iter::once(index), &Name::new(own), &mut 0);
        // One of the program's replaces libc's.
        let is_free = !exports.iter().any(|export| export.name == name);
        if let Ok(Some(Definition { sym, .. })) = found
            && is_free
        {
            exports.push(Export { name, st_info: sym.st_info, at: loader.address(&sym), size: 0, copy: None })?;
        }
    }
    Ok(())
}

/// Whether the ld.so belongs to a glibc whose parts are merged into one library.
fn is_merged(ld_so: &Mapped<MappedImage>) -> Result<bool, Failure<'static>> {
    let wanted = Wanted::of(&ld_so.image, &ld_so.dynamic, Some(MERGED_GLIBC_VERSION), false)?;
    Ok(matches!(wanted, Wanted::Number(_)))
}

/// Room for a copy of the first `size` bytes of the thread-local block, at a position from which libc gives the block its present place by the
/// thread pointer. glibc computes that place from the vaddr of PT_TLS, musl from its address; they differ where the
/// block is aligned to more than a page, and the program's bias is not.
fn snapshot_buffer(
    process: &'static Process,
    libc: Libc,
    live: &ThreadLocal,
    size: usize,
) -> Result<(NonNull<[u8]>, RuntimeAddr), OutOfMemory> {
    let buffer = process.arena.bytes(size.saturating_add(live.align), 16)?;
    let start = RuntimeAddr::of(buffer.as_mut_ptr());
    let position = match libc {
        Libc::Gnu => process.sealed.namespace.module(0).image.bias().vaddr(start).0,
        Libc::Musl => start.0,
    };
    // libcs choose the nearest place that is equal modulo the alignment.
    let distance = process.sealed.tls.start().cast_unsigned();
    let misfit = distance.wrapping_sub(position) & from_usize(live.align).saturating_sub(1);
    let aligned = buffer.get_mut(to_usize(misfit)..).and_then(|rest| rest.get_mut(..size));
    let aligned = aligned.ok_or(OutOfMemory(size))?;
    Ok((NonNull::from(aligned), RuntimeAddr(start.0.wrapping_add(misfit))))
}

fn locate(process: &Process, at: RuntimeAddr) -> PlaceInObject<'_> {
    match holder(process, at) {
        Some((module, vaddr)) => {
            let name = module.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            PlaceInObject { object: name, vaddr: vaddr.0 }
        }
        None => PlaceInObject { object: b"?", vaddr: at.0 },
    }
}

/// The module that contains an address, and the link-time address.
fn holder(process: &Process, address: RuntimeAddr) -> Option<(&Module<'static, MappedImage>, Vaddr)> {
    process.sealed.namespace.loaded().find_map(|(_, module)| {
        let vaddr = module.image.bias().vaddr(address);
        module.image.plan().segment_of(vaddr, 1).map(|_| (module, vaddr))
    })
}
