//! The main thread's thread-local storage. The program's block must be nearest to the thread pointer, in every thread.
//! That is the place of the executable's PT_TLS, and the executable is this one: its PT_TLS is room for the program's
//! block.
//!
//! # Safety
//! This file exists because the room is found by the thread pointer.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::slice;

use rtld::base::addr::{Vaddr, from_usize, to_usize};
use rtld::base::arena::OutOfMemory;
use rtld::elf::plan::Protection;
use rtld::error::{Failure, OWN, Problem};
use rtld::link::load::Present;
use rtld::link::tls;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{AddressSpace, Image, ImageMut};
use rtld::os::sys::Linux;

use crate::cpu::room_distance;
use crate::platform::thread_local::ThreadLocal;
use crate::run::cpu::calls::thread_pointer;
use crate::run::kernel;
use crate::run::process::Process;

/// Puts the program's initial image into the room: into the main thread's, and into the image from which libc makes
/// that of later threads.
pub(crate) fn set_up(process: &mut Process) -> Result<(), Failure<'static>> {
    let (size, align) = (process.sealed.tls.size(), process.sealed.tls.align());
    if size == 0 {
        return Ok(());
    }
    let Present { mut image, .. } = kernel::own_image(process.arena, OWN, process.page)?;
    let room = image.plan().tls.ok_or(Problem::TlsSize(size))?;
    // Offset of the block in the room.
    let into = process.sealed.tls.start().wrapping_sub(room_distance()).cast_unsigned();
    if into.checked_add(size).is_none_or(|end| end > room.mem_size) || align > room.align {
        return Err(Problem::TlsReserve { size, align, left: room.mem_size }.into());
    }
    let initial = process.arena.bytes(to_usize(size), 8)?;
    process.sealed.fill_tls(initial).map_err(|error| error.problem)?;
    // SAFETY: the thread pointer is libc's, and this executable's storage is nearest to it.
    let block = tls::address(unsafe { thread_pointer() }, process.sealed.tls.start());
    let block = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(block)).ok_or(OutOfMemory(0))?;
    // SAFETY: the calling thread's room, which is unused.
    let live = unsafe { slice::from_raw_parts_mut(block.as_ptr(), initial.len()) };
    live.copy_from_slice(initial);
    let at = Vaddr(room.vaddr.0.wrapping_add(into));
    write_sealed(&mut image, at, initial)?;
    process.thread_local = Some(ThreadLocal { size: initial.len() });
    Ok(())
}

/// Gives later threads initial values at a distance from the thread pointer.
///
/// # Errors
/// [`Problem::TlsSize`] with the size in bytes, if they are not in the room; [`Problem::Protect`] if the system does not let the
/// image be written to.
pub(crate) fn write_image(process: &Process, distance: i64, bytes: &[u8]) -> Result<(), Failure<'static>> {
    let size = from_usize(bytes.len());
    let Present { mut image, .. } = kernel::own_image(process.arena, OWN, process.page)?;
    let room = image.plan().tls.ok_or(Problem::TlsSize(size))?;
    let into = distance.wrapping_sub(room_distance()).cast_unsigned();
    if into.checked_add(size).is_none_or(|end| end > room.mem_size) {
        return Err(Problem::TlsSize(size).into());
    }
    write_sealed(&mut image, Vaddr(room.vaddr.0.wrapping_add(into)), bytes)
}

/// Writes to this executable's RELRO, which is sealed again afterwards.
fn write_sealed(image: &mut MappedImage, at: Vaddr, bytes: &[u8]) -> Result<(), Failure<'static>> {
    let protect = |image: &MappedImage, protection| match image.plan().relro {
        Some(range) => Linux.protect(image, range, protection).map_err(Problem::Protect),
        None => Ok(()),
    };
    protect(image, Protection::READ_WRITE)?;
    image.write(at, bytes).ok_or(Problem::RelocationOutside { r_type: 0, at })?;
    Ok(protect(image, Protection::READ)?)
}
