//! Registration of libraries' unwind tables with the unwinder of libc's world, which finds the program's tables through
//! the template, and all others only if they are registered.
//!
//! The tables are registered with libgcc as soon as it is loaded, which is when a native library needs it. libgcc reads
//! registered tables at any later time, so a library stays mapped from then on.
//!
//! # Safety
//! This file exists because libgcc gets the address of a table, and because a copy is made in fresh memory.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use abi::export::LIBC_ABSENT;
use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::base::report::Category;
use rtld::elf::eh_frame::{self, EhFrame};
use rtld::link::namespace::Module;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys;
use rtld::words;

use crate::platform::image::LIBC_KNOWS_PROGRAM;
use crate::platform::presence;
use crate::run::code;
use crate::run::native::libc;
use crate::run::native::libc::{RTLD_DEFAULT, RTLD_NOLOAD, RTLD_NOW};
use crate::run::open::runtime;
use crate::run::process::Process;

const LIBGCC: &core::ffi::CStr = c"libgcc_s.so.1";
const REGISTER: &core::ffi::CStr = c"__register_frame";

/// Registers the tables that are not registered yet, if libgcc is loaded. Without memory for that, some libraries are
/// left out, and exceptions do not pass through them.
pub(crate) fn register(process: &'static Process, arena: &'static Arena, opened: bool) {
    static START_TOLD: AtomicBool = AtomicBool::new(false);
    let nothing = LIBC_KNOWS_PROGRAM && !runtime::any(process);
    if nothing || presence::state() == LIBC_ABSENT {
        return;
    }
    let Some(register) = libgcc(opened) else { return };
    let mut tables = List::new(arena);
    if !START_TOLD.swap(true, Ordering::AcqRel) {
        let mut libraries = process.sealed.namespace.loaded().skip(usize::from(LIBC_KNOWS_PROGRAM));
        let _ = libraries.try_for_each(|(_, module)| add(process, module, &mut tables));
    }
    runtime::with_untold(|module| {
        let _ = add(process, module, &mut tables);
    });
    for &table in tables.iter() {
        // SAFETY: libgcc's `__register_frame`.
        let register = unsafe { code::function::<extern "C" fn(usize)>(register) };
        register(to_usize(table.0));
    }
}

/// Address of libgcc's `__register_frame`, if libgcc is loaded; `opened` says whether a dlopen may have loaded it.
fn libgcc(opened: bool) -> Option<RuntimeAddr> {
    let mut address = libc::symbol(RTLD_DEFAULT, REGISTER.as_ptr(), None);
    // Search the libraries that were opened as well. Not before any was: the failing search sets `errno`, which is 0
    // when a program begins.
    if address == 0 && opened {
        let handle = libc::open(LIBGCC.as_ptr(), RTLD_NOW | RTLD_NOLOAD);
        address = if handle == 0 { 0 } else { libc::symbol(handle, REGISTER.as_ptr(), None) };
    }
    if address == 0 {
        // Clear the error, so that it is not reported for another call.
        let _ = libc::error();
        return None;
    }
    Some(RuntimeAddr(rtld::base::addr::from_usize(address)))
}

/// Adds the address of a module's table or, if that lacks the final word of zero, of a copy with it.
fn add(
    process: &Process,
    module: &Module<'static, MappedImage>,
    tables: &mut List<'static, RuntimeAddr>,
) -> Result<(), OutOfMemory> {
    let Some(frame) = eh_frame::find(module) else { return Ok(()) };
    let start = module.image.bias().runtime(frame.start);
    let start = if frame.terminated { Some(start) } else { copy(module, &frame, start) };
    let Some(start) = start else {
        process.trace.line(Category::Libc, words!("{}: unwind tables of an unknown kind", module.path));
        return Ok(());
    };
    process.trace.line(Category::Libc, words!("{}: unwind tables registered", module.path));
    tables.push(start)
}

/// A copy of the records, with a word of zero after them. It is kept for good, like the module.
fn copy(module: &Module<'static, MappedImage>, frame: &EhFrame, start: RuntimeAddr) -> Option<RuntimeAddr> {
    let records = module.image.bytes(frame.start, frame.size)?;
    // The copy must be within the range of 32-bit distances.
    let end = module.image.bias().runtime(module.image.plan().span.end);
    let memory = sys::anonymous_near(end, eh_frame::room(frame))?;
    let to = RuntimeAddr::of(memory.cast::<u8>().as_ptr());
    // SAFETY: fresh zeroed memory, to which no other reference exists.
    let bytes = unsafe { &mut *memory.as_ptr() };
    let moved = eh_frame::relocate(records, start, to, bytes);
    if moved.is_none() {
        // SAFETY: the copy is not used.
        unsafe { sys::give_back(memory) };
    }
    moved.map(|()| to)
}
