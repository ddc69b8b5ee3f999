//! A fork by libc's own function while another thread opens or closes a library: it waits until the list of objects is whole,
//! so that the child can use it.
//!
//! # Safety
//! This file exists because libc's function is called by address.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use libc_template::LoaderImport;
use rtld::base::addr::{RuntimeAddr, from_usize};

use crate::run::code;
use crate::run::native::libc;
use crate::run::native::libc::RTLD_DEFAULT;
use crate::run::open::runtime::runtime;

/// Whether the thread that forks has taken the lock for that.
static FORKING: AtomicBool = AtomicBool::new(false);

extern "C" fn before() {
    if runtime().is_some_and(|runtime| runtime.list.hold_for_fork()) {
        FORKING.store(true, Ordering::Relaxed);
    }
}

/// In the process, and in its child.
extern "C" fn after() {
    if FORKING.swap(false, Ordering::Relaxed)
        && let Some(runtime) = runtime()
    {
        runtime.list.release_after_fork();
    }
}

/// Has libc's fork wait for changes of the list.
pub(crate) fn watch() {
    if runtime().is_none() {
        return;
    }
    type Register = extern "C" fn(extern "C" fn(), extern "C" fn(), extern "C" fn(), usize) -> i32;
    // glibc has pthread_atfork(3) in its static part, and calls this; musl does not know of a fourth argument.
    let glibc = libc::address(LoaderImport::Dlvsym).is_some();
    let name = if glibc { c"__register_atfork" } else { c"pthread_atfork" };
    match libc::symbol(RTLD_DEFAULT, name.as_ptr(), None) {
        0 => {
            // Clear the error, so that it is not reported for another call.
            let _ = libc::error();
        }
        register => {
            // SAFETY: libc's `__register_atfork`, or its `pthread_atfork`, which has the first three of these arguments.
            let register = unsafe { code::function::<Register>(RuntimeAddr(from_usize(register))) };
            register(before, after, after, 0);
        }
    }
}
