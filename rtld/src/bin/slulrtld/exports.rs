//! What programs may import from the loader, besides the memory functions. `exports.map` gives the versions,
//! `exports.golden` the list that the audit holds the binary against.
//!
//! # Safety
//! This file exists because exported names must not be mangled, and because libc's `exit` is entered by its
//! address.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::Ordering;

use rtld::addr::to_usize;

use super::process::{Process, finalise};
use super::{REFUSED, bogomap, say, start};

/// Brings the system's libc in; 0, or a negative errno.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_load_libc() -> i32 {
    let Some(process) = Process::get() else { return rtld::error::Errno::EPERM.0.wrapping_neg() };
    match bogomap::ensure_libc(process) {
        Ok(()) => 0,
        Err(error) => error.problem.errno().0.wrapping_neg(),
    }
}

/// 0 absent, 1 loading, 2 present.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_libc_state() -> i32 {
    bogomap::state()
}

/// Runs the finalisers and ends the process; through libc's `exit` once libc is there, so that it flushes its
/// buffers and runs its own. Ours are registered with it and run before those.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_exit(status: i32) -> ! {
    leave_by_libc(status);
    finalise();
    // A finaliser's native call may have been the first.
    leave_by_libc(status);
    start::exit_group(status)
}

/// Returns if there is no libc to leave by.
fn leave_by_libc(status: i32) {
    let [_, exit, _] = &start::LOADER_TARGETS;
    let exit: *const () = ptr::with_exposed_provenance(exit.load(Ordering::Acquire));
    if !exit.is_null() && bogomap::is_bound() {
        // SAFETY: ld.so bound libc's `exit` there.
        let exit = unsafe { core::mem::transmute::<*const (), extern "C" fn(i32) -> !>(exit) };
        exit(status)
    }
}

/// A value of the auxiliary vector as the kernel passed it, 0 if there is none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_getauxval(key: u64) -> u64 {
    Process::get().map_or(0, |process| process.auxiliary(key))
}

/// Module and offset of a thread-local variable, as DTPMOD64 and DTPOFF64 have filled them in.
#[repr(C)]
pub(crate) struct TlsIndex {
    module: u64,
    offset: u64,
}

/// Address of a thread-local variable in the calling thread. All modules of this world have their blocks at fixed
/// distances below the thread pointer, in threads that libc makes as well.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __tls_get_addr(index: &TlsIndex) -> usize {
    let Some(process) = Process::get() else { start::trap() };
    let mut modules = (0usize..).zip(process.sealed.namespace.loaded());
    let module = modules.find(|(number, _)| rtld::reloc::tls_module_id(*number) == index.module);
    let Some(offset) = module.and_then(|(_, module)| module.tls_offset) else {
        say(format_args!("__tls_get_addr: no module {} with thread-local storage", index.module));
        start::exit_group(REFUSED)
    };
    // SAFETY: a module has thread-local storage, so a thread pointer was set before anything of it ran.
    let tp = unsafe { start::thread_pointer() };
    tp.wrapping_sub(to_usize(offset)).wrapping_add(to_usize(index.offset))
}

/// Called by code compiled with the stack protector when it finds its canary changed.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __stack_chk_fail() -> ! {
    say(format_args!("stack smashing detected"));
    start::exit_group(REFUSED)
}
