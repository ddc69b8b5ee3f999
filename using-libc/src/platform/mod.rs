//! What the loader stands on here: a thread pointer and a canary of libc's own. The loader has its file of this name for
//! where no libc is there.
//!
//! The program's thread-local storage has to be right below the thread pointer, in every thread. That is where libc puts
//! the PT_TLS of the executable, and the executable is this one: its PT_TLS is room for the program's.
//!
//! # Safety
//! This file exists because the room is found by the thread pointer, and the functions that programs import by their
//! addresses.
#![allow(unsafe_code)]

pub(crate) mod bogomap;
pub(crate) mod gap;
pub(crate) mod notice;
mod shim;

use core::ptr::{self, NonNull};
use core::slice;

use rtld::base::addr::{RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::elf::consts;
use rtld::elf::plan::Protection;
use rtld::error::{Error, Failure, OWN, Problem};
use rtld::link::load::Present;
use rtld::machine::Native;
use rtld::native::template::{Export, Parts, build};
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{AddressSpace, Image, ImageMut};
use rtld::os::sys::Linux;

use crate::cpu;
use crate::run::open::{debugger, dlfcn};
use crate::run::process::{Process, ThreadLocal};
use crate::run::{exports, kernel, thread};

/// Whether libc takes the program for what it was started with.
pub(crate) const LIBC_KNOWS_PROGRAM: bool = false;

unsafe extern "C" {
    fn memcpy();
    fn memmove();
    fn memset();
    fn memcmp();
    fn bcmp();
    fn strlen();
    fn slul_dlopen();
    fn slul_dlsym();
}

/// What was relocated of this executable libc's ld.so has made read-only.
pub(crate) fn seal_own() -> Result<(), Problem<'static>> {
    Ok(())
}

/// What programs may import from the loader; see its `exports.golden`.
fn exported() -> [(&'static str, *const ()); 19] {
    [
        ("slul_dlopen", slul_dlopen as *const ()),
        ("slul_dlsym", slul_dlsym as *const ()),
        ("slul_dlclose", dlfcn::slul_dlclose as *const ()),
        ("slul_dlerror", thread::slul_dlerror as *const ()),
        ("slul_exit", exports::slul_exit as *const ()),
        ("slul_getauxval", exports::slul_getauxval as *const ()),
        ("slul_libc_state", exports::slul_libc_state as *const ()),
        ("slul_load_libc", exports::slul_load_libc as *const ()),
        ("__tls_get_addr", thread::__tls_get_addr as *const ()),
        ("__stack_chk_fail", exports::__stack_chk_fail as *const ()),
        ("dl_iterate_phdr", dlfcn::dl_iterate_phdr as *const ()),
        ("_r_debug", (&raw const debugger::_r_debug).cast()),
        ("_dl_debug_state", debugger::_dl_debug_state as *const ()),
        ("memcpy", memcpy as *const ()),
        ("memmove", memmove as *const ()),
        ("memset", memset as *const ()),
        ("memcmp", memcmp as *const ()),
        ("bcmp", bcmp as *const ()),
        ("strlen", strlen as *const ()),
    ]
}

/// The object that defines what programs import from the loader: tables that only the program's side sees. This
/// executable itself exports nothing, for then libc's world would bind to it.
pub(crate) fn exporter(
    arena: &'static Arena,
    path: &'static [u8],
) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    let mut list = List::new(arena);
    for (name, address) in exported() {
        let st_info = consts::STB_GLOBAL << 4 | consts::STT_NOTYPE;
        let at = RuntimeAddr::of(address);
        list.push(Export { name: name.as_bytes(), st_info, at, size: 0, copy: None })?;
    }
    let made = shim::make(|arena, load, bias| {
        let nothing = shim::nothing(load, bias, bias.runtime(Vaddr(0)));
        build::<Native>(
            arena,
            &Parts { search: Some((consts::DT_SONAME, cpu::SONAME)), exports: &list, ..nothing },
        )
    })?;
    let phdrs = Some(made.phdrs);
    Ok(Present { path, image: made.image(), phdrs })
}

/// Puts the program's thread-local storage into the room that there is: the main thread's, and the image of which libc
/// makes that of threads to come.
pub(crate) fn set_up_thread(process: &mut Process) -> Result<(), Failure<'static>> {
    let (size, align) = (process.sealed.tls.size(), process.sealed.tls.align());
    if size == 0 {
        return Ok(());
    }
    let Present { mut image, .. } = kernel::own_image(OWN)?;
    let room = image.plan().tls.ok_or(Problem::TlsSize(size))?;
    let offset = from_usize(cpu::room_offset().wrapping_neg());
    if size > offset || align > room.align {
        return Err(Problem::TlsReserve { size, align, left: offset }.into());
    }
    let initial = process.arena.bytes(to_usize(size), 8)?;
    process.sealed.fill_tls(initial).map_err(|error| error.problem)?;
    // SAFETY: the thread pointer is libc's, and this executable's storage right below it.
    let block = unsafe { cpu::thread_pointer() }.wrapping_sub(to_usize(size));
    let block = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(block)).ok_or(OutOfMemory(0))?;
    // SAFETY: the calling thread's room, which nobody else uses.
    let live = unsafe { slice::from_raw_parts_mut(block.as_ptr(), initial.len()) };
    live.copy_from_slice(initial);
    let at = Vaddr(room.vaddr.0.wrapping_add(offset.wrapping_sub(size)));
    write_sealed(&mut image, at, initial)?;
    process.thread_local = Some(ThreadLocal { block, size: initial.len(), align: to_usize(align) });
    Ok(())
}

/// Writes to this executable, whose RELRO is sealed.
fn write_sealed(image: &mut MappedImage, at: Vaddr, bytes: &[u8]) -> Result<(), Failure<'static>> {
    let protect = |image: &MappedImage, protection| match image.plan().relro {
        Some(range) => Linux.protect(image, range, protection).map_err(Problem::Protect),
        None => Ok(()),
    };
    protect(image, Protection::READ_WRITE)?;
    image.write(at, bytes).ok_or(Problem::RelocationOutside { r_type: 0, at })?;
    Ok(protect(image, Protection::READ)?)
}

/// There is nobody to leave it to.
pub(crate) fn leave_to_other(_: &Process) -> Result<(), Error<'static>> {
    Ok(())
}
