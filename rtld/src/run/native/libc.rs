//! libc's functions that the loader itself calls, once libc is present.
//!
//! # Safety
//! This file exists because libc's functions are found by address. ld.so has bound them by name, and their types are
//! those that the C library and POSIX document. A function that ld.so did not find has no address.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use libc_template::LoaderImport;
use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};

use crate::run::code;

// <dlfcn.h>'s values, which glibc and musl share.
pub(crate) use abi::export::{RTLD_GLOBAL, RTLD_LAZY, RTLD_NOLOAD, RTLD_NOW};
pub(crate) const RTLD_DEFAULT: usize = abi::export::RTLD_DEFAULT.cast_unsigned();
pub(crate) const RTLD_NEXT: usize = abi::export::RTLD_NEXT.cast_unsigned();

/// The table of the addresses that ld.so binds for the loader itself, in the order of [`LoaderImport`]; null where libc
/// never comes.
#[cfg_attr(not(using_libc), unsafe(link_section = ".data.rel.ro.tables"))]
pub(crate) static LOADER_TARGETS: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// The address that ld.so has found.
pub(crate) fn address(import: LoaderImport) -> Option<RuntimeAddr> {
    let table = LOADER_TARGETS.load(Ordering::Relaxed);
    if table.is_null() {
        return None;
    }
    // SAFETY: the table has a word for each `LoaderImport`, and stays.
    let address = unsafe { &*table.add(import as usize) }.load(Ordering::Acquire);
    (address != 0).then(|| RuntimeAddr(from_usize(address)))
}

/// The address of exit(3); 0 if there is none.
pub(crate) fn exit() -> usize {
    address(LoaderImport::Exit).map_or(0, |address| to_usize(address.0))
}

/// Address of libc's `environ` (environ(7)); 0 if there is none.
pub(crate) fn environ() -> usize {
    address(LoaderImport::Environ).map_or(0, |address| to_usize(address.0))
}

/// Registers `run` with exit(3), which calls it before the functions that were registered earlier (`__cxa_atexit` of
/// the Itanium C++ ABI).
pub(crate) fn at_exit(run: extern "C" fn(usize)) {
    type Register = extern "C" fn(extern "C" fn(usize), usize, usize) -> i32;
    if let Some(address) = address(LoaderImport::CxaAtexit) {
        // SAFETY: libc's `__cxa_atexit`.
        let register = unsafe { code::function::<Register>(address) };
        register(run, 0, 0);
    }
}

/// dlopen(3). Returns 0 on failure; libc's dlerror has the reason.
pub(crate) fn open(name: *const c_char, flags: i32) -> usize {
    let Some(address) = address(LoaderImport::Dlopen) else { return 0 };
    // SAFETY: libc's `dlopen`.
    let open = unsafe { code::function::<extern "C" fn(*const c_char, i32) -> usize>(address) };
    open(name, flags)
}

/// dlsym(3) or, with a version, dlvsym(3). Returns 0 if the symbol is not found.
pub(crate) fn symbol(handle: usize, name: *const c_char, version: Option<&CStr>) -> usize {
    let Some((address, version)) = lookup(version) else { return 0 };
    // SAFETY: libc's `dlvsym`, or its `dlsym`, which has the first two of these arguments.
    let symbol = unsafe { code::function::<extern "C" fn(usize, *const c_char, *const c_char) -> usize>(address) };
    symbol(handle, name, version)
}

/// The function that looks a symbol up, and its third argument, if it has one. musl knows no versions.
pub(crate) fn lookup(version: Option<&CStr>) -> Option<(RuntimeAddr, *const c_char)> {
    match (version, address(LoaderImport::Dlvsym)) {
        (Some(version), Some(dlvsym)) => Some((dlvsym, version.as_ptr())),
        _ => Some((address(LoaderImport::Dlsym)?, ptr::null())),
    }
}

/// dlclose(3).
pub(crate) fn close(handle: usize) -> i32 {
    let Some(address) = address(LoaderImport::Dlclose) else { return -1 };
    // SAFETY: libc's `dlclose`.
    let close = unsafe { code::function::<extern "C" fn(usize) -> i32>(address) };
    close(handle)
}

/// dlclose(3) of handles of the loader's own. What is wrong with one is nobody's concern.
pub(crate) fn close_all(handles: &[usize]) {
    for &handle in handles.iter().filter(|&&handle| handle != 0) {
        let _ = close(handle);
    }
}

/// dlerror(3): the message of the last failure in the calling thread.
pub(crate) fn error() -> Option<&'static [u8]> {
    let address = address(LoaderImport::Dlerror)?;
    // SAFETY: libc's `dlerror`.
    let error = unsafe { code::function::<extern "C" fn() -> *const c_char>(address) };
    let text = error();
    // SAFETY: a string of libc's, valid until the thread's next call of these functions.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// dl_iterate_phdr(3) of libc's world. Returns 0 if libc has none.
pub(crate) fn iterate_phdr(callback: usize, data: usize) -> i32 {
    let Some(address) = address(LoaderImport::DlIteratePhdr) else { return 0 };
    // SAFETY: libc's `dl_iterate_phdr`, with a callback of the type that it documents.
    let iterate = unsafe { code::function::<extern "C" fn(usize, usize) -> i32>(address) };
    iterate(callback, data)
}

/// pthread_key_create(3): a key for a value in each thread. libc calls `destructor` with a thread's value when the thread ends.
pub(crate) fn new_key(destructor: extern "C" fn(usize)) -> Option<u32> {
    let address = address(LoaderImport::KeyCreate)?;
    // SAFETY: libc's `pthread_key_create`. `pthread_key_t` has 32 bits in glibc and musl.
    let create = unsafe { code::function::<extern "C" fn(*mut u32, extern "C" fn(usize)) -> i32>(address) };
    let mut key = 0;
    (create(&raw mut key, destructor) == 0).then_some(key)
}

/// pthread_setspecific(3): whether the calling thread has the value now.
pub(crate) fn set_specific(key: u32, value: usize) -> bool {
    let Some(address) = address(LoaderImport::SetSpecific) else { return false };
    // SAFETY: libc's `pthread_setspecific`.
    let set = unsafe { code::function::<extern "C" fn(u32, usize) -> i32>(address) };
    set(key, value) == 0
}
