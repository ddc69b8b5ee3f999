//! `slul_dlopen` and its relatives, and `dl_iterate_phdr`, with their interfaces in C. Names and handles that are not
//! of this world are passed on to libc.
//!
//! # Safety
//! This file exists because names come from C as addresses.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};

use rtld::base::arena::Arena;
use rtld::elf::symbol::Name;
use rtld::error::Problem;
use rtld::open::opened::Flags;

use crate::run::native::libc::{self, RTLD_LAZY, RTLD_NEXT, RTLD_NOW};
use crate::run::native::natives;
use crate::run::open::opening::runtime_for_all;
use crate::run::open::phdr_info::{Callback, PhdrInfo};
use crate::run::open::runtime::{Runtime, release, runtime};
use crate::run::process::new_arena;
use crate::run::refusal::Refusal;
use crate::run::thread;

/// Performs one operation, unless it comes from a callback of `dl_iterate_phdr`. The operation gets an arena, which is
/// given back afterwards unless the operation returns that its contents stay. On failure, returns `failed` and keeps
/// the message for `slul_dlerror`.
fn operate<T>(
    failed: T,
    operation: impl FnOnce(&'static Runtime, &'static Arena) -> Result<(T, bool), Refusal>,
) -> T {
    let Some(runtime) = runtime() else { return failed };
    // Checked before waiting for `whole`: the thread that holds it may be waiting for the list.
    if runtime.list.is_mine() {
        thread::fail(&Refusal::Busy);
        return failed;
    }
    // Once libc is there, its unwinder is told of what is opened and closed.
    if let Err(refusal) = natives::is_callable(runtime) {
        refusal.tell();
        return failed;
    }
    let arena = match new_arena() {
        Ok(arena) => arena,
        Err(failure) => {
            thread::fail(&failure);
            return failed;
        }
    };
    let _whole = runtime.whole.hold();
    let (result, stays) = operation(runtime, arena).unwrap_or_else(|refusal| {
        refusal.tell();
        (failed, false)
    });
    if !stays {
        // SAFETY: the operation left nothing in it; a message was copied.
        unsafe { release(arena) };
    }
    result
}

/// # Safety
/// `name` is null, or the address of a C string that lives through the operation in which the result is used.
unsafe fn string(name: *const c_char) -> Option<&'static [u8]> {
    // SAFETY: by the caller.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// dlopen(3), with the address to which it returns. A null or empty name means the program.
pub(crate) extern "C" fn open(name_in_c: *const c_char, flags: i32, caller: usize) -> usize {
    // SAFETY: the caller passes a C string or null (dlopen(3)).
    let name = unsafe { string(name_in_c) }.unwrap_or_default();
    let mut left = None;
    let handle = open_here(name, flags, caller, true, &mut left);
    // With RTLD_NOLOAD, a library that is not loaded here may be loaded by libc.
    if handle == 0 && Flags::new(flags).is_some_and(Flags::only_known) && !thread::has_failed() {
        left = Some(LeftToLibc::Native);
    }
    match (runtime(), left) {
        (Some(runtime), Some(LeftToLibc::Native)) => told(0, natives::open(runtime, name_in_c, flags)),
        (Some(runtime), Some(LeftToLibc::Loose)) => {
            // At once: a symbol that libc does not find may be of this world.
            if let Ok(native) = natives::open(runtime, name_in_c, flags & !RTLD_LAZY | RTLD_NOW) {
                return native;
            }
            let _ = libc::error();
            open_here(name, flags, caller, false, &mut left)
        }
        _ => handle,
    }
}

/// The reason why a library is left to libc.
#[derive(Clone, Copy)]
enum LeftToLibc {
    /// It is native, or not found.
    Native,
    /// Nothing tells which world it is of.
    Loose,
}

/// dlopen(3) in this world. 0 if it fails, or if a library is `left` to libc.
fn open_here(name: &'static [u8], flags: i32, caller: usize, loose: bool, left: &mut Option<LeftToLibc>) -> usize {
    operate(0, |runtime, arena| {
        if name.is_empty() {
            Flags::new(flags).ok_or(Refusal::Mode(flags))?;
            return Ok((runtime.with(|state| state.handle(0))?, false));
        }
        runtime.open(arena, name, flags, caller, loose).or_else(|refusal| {
            *left = match refusal {
                Refusal::Error(error) if matches!(error.problem, Problem::NotLibrary) => Some(LeftToLibc::Native),
                Refusal::Error(error) if matches!(error.problem, Problem::Loose) => Some(LeftToLibc::Loose),
                refusal => return Err(refusal),
            };
            Ok((0, false))
        })
    })
}

/// The result or, on failure, `failed`, with the message kept for `slul_dlerror`.
fn told<T>(failed: T, result: Result<T, Refusal>) -> T {
    result.unwrap_or_else(|refusal| {
        refusal.tell();
        failed
    })
}

/// dlsym(3) or, with a version, dlvsym(3), with the address to which it returns.
pub(crate) extern "C" fn symbol(
    handle: usize,
    name_in_c: *const c_char,
    version_in_c: *const c_char,
    caller: usize,
) -> usize {
    // SAFETY: the caller passes a C string or null (dlsym(3)).
    let (Some(name), Some(runtime)) = (unsafe { string(name_in_c) }, runtime()) else { return 0 };
    // SAFETY: likewise (dlvsym(3)).
    let version = (!version_in_c.is_null()).then(|| unsafe { CStr::from_ptr(version_in_c) });
    let wanted = match version {
        Some(version) => Name::versioned(name, Some(version.to_bytes())).canonical(true),
        None => Name::by_hand(name),
    };
    let found = runtime.symbol(handle, &wanted, caller).or_else(|refusal| match refusal {
        // Native libraries are searched after all objects of this world.
        Refusal::Symbol(_, true) => {
            natives::symbol_of_all(runtime, (name_in_c, version), name, handle == RTLD_NEXT)
        }
        Refusal::Handle(handle) => natives::symbol(runtime, handle, (name_in_c, version)),
        refusal => Err(refusal),
    });
    // The message is kept before libc is asked again.
    let found = found.or_else(|refusal| {
        refusal.tell();
        let natives = runtime.natives_of(handle, caller);
        if natives.is_empty() {
            return Err(Refusal::Said);
        }
        natives::is_callable(runtime)?;
        let mut addresses = natives.iter().map(|&native| libc::symbol(native, name_in_c, version));
        let found = addresses.find(|&address| address != 0);
        // Neither's message is of concern if it is found.
        let _ = libc::error();
        found.ok_or(Refusal::Said).inspect(|_| {
            let _ = thread::slul_dlerror();
        })
    });
    told(0, found)
}

/// dlclose(3). Returns 0, or -1 if the handle is not one of an open library.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dlclose(handle: usize) -> i32 {
    let mut native = false;
    let closed = operate(-1, |runtime, arena| {
        native = runtime.with(|state| state.forget_native(handle))?;
        if native { Ok((0, false)) } else { runtime.close(arena, handle).map(|()| (0, false)) }
    });
    // Without any lock: finalisers of native libraries are foreign code.
    if native { told(-1, natives::close(handle)) } else { closed }
}

/// dl_iterate_phdr(3): the objects of this world, then those of libc, if it is present. Libraries of libc's world are bound to
/// it, too.
#[cfg_attr(not(using_libc), unsafe(no_mangle))]
pub(crate) extern "C" fn dl_iterate_phdr(callback: Callback, data: usize) -> i32 {
    let Some(runtime) = runtime_for_all() else { return 0 };
    // While the lock is held, no other thread changes the list; `operate` refuses changes by the callback.
    let held = runtime.list.hold();
    // In a thread whose thread pointer is the program's own neither its blocks are found nor may libc be asked.
    let is_mine = thread::is_mine();
    let theirs = natives::changes(is_mine && !held.is_again() && !runtime.whole.is_mine());
    for index in 0..runtime.bound() {
        let Some(mut info) = runtime.describe(index, is_mine) else { continue };
        info.count_also(theirs);
        match callback(&raw mut info, size_of::<PhdrInfo>(), data) {
            0 => {}
            stop => return stop,
        }
    }
    // The lock is still held: the callback must not open or close libraries here either.
    if is_mine { natives::iterate_phdr(runtime.changes(), callback, data) } else { 0 }
}
