//! `slul_dlopen` and its relatives, and `dl_iterate_phdr`, as C has them. What is not of this world is libc's.
//!
//! # Safety
//! This file exists because names come from C as addresses.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};

use rtld::base::arena::Arena;
use rtld::error::Problem;
use rtld::open::opened::Flags;

use crate::run::native::natives;
use crate::run::open::phdr_info::{Callback, PhdrInfo};
use crate::run::open::runtime::{Runtime, release, runtime};
use crate::run::process::new_arena;
use crate::run::refusal::Refusal;
use crate::run::thread;

/// One operation, not from a callback of `dl_iterate_phdr`, with an arena that goes with it unless the operation says
/// that something stays in it. The answer is `failed` if it fails, and `slul_dlerror` says why.
fn operate<T>(
    failed: T,
    operation: impl FnOnce(&'static Runtime, &'static Arena) -> Result<(T, bool), Refusal>,
) -> T {
    let Some(runtime) = runtime() else { return failed };
    // Not by waiting for what another thread has, who may be waiting for the list.
    if runtime.list.is_mine() {
        thread::fail(format_args!("{}", Refusal::Busy));
        return failed;
    }
    let arena = match new_arena() {
        Ok(arena) => arena,
        Err(failure) => {
            thread::fail(format_args!("{failure}"));
            return failed;
        }
    };
    let _whole = runtime.whole.hold();
    let (result, stays) = operation(runtime, arena).unwrap_or_else(|refusal| {
        refusal.tell();
        (failed, false)
    });
    if !stays {
        // SAFETY: nothing was left in it; a message was copied.
        unsafe { release(arena) };
    }
    result
}

/// # Safety
/// A string of C's, or null, that lives through the operation it is used in.
unsafe fn string(name: *const c_char) -> Option<&'static [u8]> {
    // SAFETY: by the caller.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// dlopen(3) of libc-free libraries, with the address that it returns to. No name, or an empty one, is the program.
pub(crate) extern "C" fn open(name_in_c: *const c_char, flags: i32, caller: usize) -> usize {
    // SAFETY: what C promises.
    let name = unsafe { string(name_in_c) }.unwrap_or_default();
    let mut native = false;
    let handle = operate(0, |runtime, arena| {
        if name.is_empty() {
            Flags::new(flags).ok_or(Refusal::Mode(flags))?;
            return Ok((runtime.with(|state| state.handle(0))?, false));
        }
        runtime.open(arena, name, flags, caller).or_else(|refusal| match refusal {
            Refusal::Error(error) if matches!(error.problem, Problem::NotLibrary) => {
                native = true;
                Ok((0, false))
            }
            refusal => Err(refusal),
        })
    });
    // What is not here may be there already.
    native |= handle == 0 && Flags::new(flags).is_some_and(Flags::only_known) && !thread::has_failed();
    match runtime() {
        Some(runtime) if native => told(0, natives::open(runtime, name_in_c, flags)),
        _ => handle,
    }
}

/// The answer, or `failed`, and `slul_dlerror` says why.
fn told<T>(failed: T, result: Result<T, Refusal>) -> T {
    result.unwrap_or_else(|refusal| {
        refusal.tell();
        failed
    })
}

/// dlsym(3), with the address that it returns to.
pub(crate) extern "C" fn symbol(handle: usize, name_in_c: *const c_char, caller: usize) -> usize {
    // SAFETY: what C promises.
    let (Some(name), Some(runtime)) = (unsafe { string(name_in_c) }, runtime()) else { return 0 };
    let found = runtime.symbol(handle, name, caller).or_else(|refusal| match refusal {
        // Native libraries come after everything of this world.
        Refusal::Symbol(name, true) => natives::symbol_of_all(runtime, name, name_in_c),
        Refusal::Handle(handle) => natives::symbol(runtime, handle, name_in_c),
        refusal => Err(refusal),
    });
    told(0, found)
}

/// dlclose(3): 0, or -1 if the handle is none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dlclose(handle: usize) -> i32 {
    let mut native = false;
    let closed = operate(-1, |runtime, arena| {
        native = runtime.with(|state| state.forget_native(handle))?;
        if native { Ok((0, false)) } else { runtime.close(arena, handle).map(|()| (0, false)) }
    });
    // Not with a lock held: finalisers of native libraries are other people's code.
    if native { told(-1, natives::close(handle)) } else { closed }
}

/// dl_iterate_phdr(3): of the objects of this world, then of libc's, if that is there.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn dl_iterate_phdr(callback: Callback, data: usize) -> i32 {
    let Some(runtime) = runtime() else { return 0 };
    // No other thread changes the list meanwhile, and `operate` sees to it that the callback does not.
    let _held = runtime.list.hold();
    for index in 0..runtime.bound() {
        let Some(mut info) = runtime.describe(index) else { continue };
        match callback(&raw mut info, size_of::<PhdrInfo>(), data) {
            0 => {}
            stop => return stop,
        }
    }
    // Still held: a callback may open and close nothing, whatever it is shown.
    natives::iterate_phdr(callback, data)
}
