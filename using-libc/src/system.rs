//! libc's data about the process: the block, and libc's own functions.
//!
//! # Safety
//! This file exists because libc's functions and variables are C's, and the block is written by address.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::libcs::PASSED;
use libc_template::LOADER_IMPORTS;
use rtld::base::addr::{RuntimeAddr, to_usize};

use crate::cpu::PRCTL;
use crate::run::cpu::calls::system_call;
use crate::run::native::libc::{self, LOADER_TARGETS, RTLD_DEFAULT, RTLD_NEXT};
use crate::run::process::Process;

unsafe extern "C" {
    static environ: *const *const c_char;
    fn getauxval(key: u64) -> u64;
    fn __errno_location() -> *mut i32;
}

/// The main function of a C program (ISO C, 5.1.2.2.1).
pub(crate) type Main = extern "C" fn(i32, *const u64) -> i32;

// glibc moved these into libc.so.6 in its version 2.34 and gave them that version, but keeps the old one for programs that were
// linked before, of which this is one: so it starts with any glibc since 2.17. musl's have no versions.
unsafe extern "C" {
    #[cfg_attr(versioned, link_name = "__libc_start_main@GLIBC_2.2.5")]
    fn __libc_start_main(
        main: Main,
        argc: i32,
        argv: *const u64,
        initialisers: usize,
        finalisers: usize,
        finaliser_of_ld_so: usize,
        stack: *const u64,
    ) -> !;
    #[cfg_attr(versioned, link_name = "dlsym@GLIBC_2.2.5")]
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    #[cfg_attr(versioned, link_name = "dlinfo@GLIBC_2.3.3")]
    pub(crate) fn dlinfo(handle: *mut c_void, request: c_int, info: *mut c_void) -> c_int;
}

/// Has libc start the process, like its own start-up object (crt1.o), which would ask for the newest version.
///
/// # Safety
/// `stack` is the kernel's block, and the last is what ld.so leaves for atexit(3).
pub(crate) unsafe fn start(main: Main, stack: *const u64, finaliser_of_ld_so: usize) -> ! {
    // SAFETY: the block begins with argc and argv; this executable has no initialisers and finalisers.
    unsafe {
        let argc = i32::try_from(stack.read()).unwrap_or(0);
        __libc_start_main(main, argc, stack.add(1), 0, 0, finaliser_of_ld_so, stack)
    }
}

/// Keys of the auxiliary vector. Linux 6 has keys up to 51 (AT_MINSIGSTKSZ).
const KEYS: core::ops::Range<u64> = 1..64;

/// Largest size of the block in bytes.
pub(crate) fn block_size(argc: i32) -> usize {
    let words = usize::try_from(argc).unwrap_or(0).saturating_add(environment().count());
    // argc, two NULLs, and the auxiliary vector with its end.
    let fixed = to_usize(KEYS.end).saturating_mul(2).saturating_add(5);
    words.saturating_add(fixed).saturating_mul(8)
}

/// The strings of the environment, which constructors of preloaded libraries may have changed; what was passed on under another
/// name has its own again.
fn environment() -> impl Iterator<Item = u64> {
    // SAFETY: libc's variable, which no other code changes now.
    let first = unsafe { environ };
    let at = move |index: usize| {
        // SAFETY: the list extends to its NULL, and is not read beyond that.
        let string = unsafe { first.add(index).read() };
        (!string.is_null()).then(|| {
            // SAFETY: a string of the list.
            let text = unsafe { CStr::from_ptr(string) }.to_bytes();
            let before = if text.starts_with(PASSED) { PASSED.len() } else { 0 };
            RuntimeAddr::of(string.wrapping_add(before)).0
        })
    };
    (0..).map_while(move |index| if first.is_null() { None } else { at(index) })
}

/// Writes argc, argv, envp and auxv in the kernel's layout.
///
/// The contents of the auxiliary vector come from libc's getauxval(3). The vector in memory is not used: it follows
/// envp, which may have been compacted.
///
/// # Safety
/// There are [`block_size`] bytes at `place`, and `argv` is libc's.
pub(crate) unsafe fn write_block(place: usize, argc: i32, argv: *const u64) {
    let mut next: *mut u64 = ptr::with_exposed_provenance_mut(place);
    let mut push = |word: u64| {
        // SAFETY: within the room that `block_size` counts.
        unsafe { next.write(word) };
        next = next.wrapping_add(1);
    };
    push(u64::try_from(argc).unwrap_or(0));
    for index in 0..usize::try_from(argc).unwrap_or(0) {
        // SAFETY: argv has `argc` strings.
        push(unsafe { argv.add(index).read() });
    }
    push(0);
    environment().for_each(&mut push);
    push(0);
    for key in KEYS {
        if let Some(value) = auxiliary(key) {
            push(key);
            push(value);
        }
    }
    push(0);
    push(0);
}

/// The value of an entry in the auxiliary vector.
fn auxiliary(key: u64) -> Option<u64> {
    // SAFETY: the calling thread's errno.
    let errno = unsafe { __errno_location() };
    // SAFETY: the calling thread's errno.
    let before = unsafe { errno.replace(0) };
    // SAFETY: getauxval(3) accepts any key.
    let value = unsafe { getauxval(key) };
    // SAFETY: the calling thread's errno.
    let absent = unsafe { errno.replace(before) } != 0;
    (!absent).then_some(value)
}

/// Sets errno to 0, its value at the beginning of a program.
pub(crate) fn forget_errors() {
    // SAFETY: the calling thread's errno.
    unsafe { __errno_location().write(0) };
}

/// libc's functions that the loader calls ([`LOADER_TARGETS`]).
static TABLE: [AtomicUsize; LOADER_IMPORTS.len()] = [const { AtomicUsize::new(0) }; LOADER_IMPORTS.len()];

/// Finds libc's functions that the loader calls: the first definition of each name, preloaded libraries included. Those that
/// are not there yet are looked for again: threads are a library of their own in glibc before 2.34, which the program needs.
pub(crate) fn find_libc() {
    LOADER_TARGETS.store(TABLE.as_ptr().cast_mut(), Ordering::Relaxed);
    for (target, name) in TABLE.iter().zip(LOADER_IMPORTS) {
        let mut buffer = [0u8; 32];
        if target.load(Ordering::Relaxed) == 0
            && let Some(place) = buffer.get_mut(..name.len())
        {
            place.copy_from_slice(name);
            let name = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
            // Of that name this executable has a function of its own (`platform/walkers.rs`).
            let found = if name == c"dl_iterate_phdr" { symbol_in(RTLD_NEXT, name) } else { symbol(name) };
            target.store(found.map_or(0, <*mut c_void>::expose_provenance), Ordering::Release);
        }
    }
}

/// Replaces what was found, where `by` has something else for it.
pub(crate) fn replace_found(by: impl Fn(usize) -> Option<usize>) {
    for target in &TABLE {
        if let Some(instead) = by(target.load(Ordering::Relaxed)) {
            target.store(instead, Ordering::Release);
        }
    }
}

/// A symbol of libc's world.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    symbol_in(RTLD_DEFAULT, name)
}

/// The function of that name behind this executable's.
pub(crate) fn next(name: &CStr) -> Option<RuntimeAddr> {
    symbol_in(RTLD_NEXT, name).map(|place| RuntimeAddr::of(place.cast_const()))
}

fn symbol_in(place: usize, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: RTLD_DEFAULT or RTLD_NEXT, and a C string.
    let symbol = unsafe { dlsym(ptr::with_exposed_provenance_mut(place), name.as_ptr()) };
    (!symbol.is_null()).then_some(symbol)
}

/// Makes the program's list of variables libc's: what the program changes there, libc sees.
pub(crate) fn share_environment(process: &Process) {
    let place = ptr::with_exposed_provenance_mut::<u64>(libc::environ());
    if !place.is_null() {
        // SAFETY: libc's variable, a pointer, which no other code uses now.
        unsafe { place.write(process.arguments().envp) };
    }
}

/// Gives the process the program's name: the one that the kernel shows, and the one that libc puts before its messages.
pub(crate) fn take_name(process: &'static Process) {
    let path = process.sealed.namespace.module(0).path;
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let Ok(name) = process.arena.concat(&[name, b"\0"]) else { return };
    const PR_SET_NAME: usize = 15;
    // SAFETY: a C string, of which the kernel copies 15 bytes at most.
    unsafe { system_call(PRCTL, [PR_SET_NAME, name.as_ptr().expose_provenance(), 0, 0]) };
    if process.block.layout().argc == 0 {
        return;
    }
    let full: *const c_char = ptr::with_exposed_provenance(to_usize(process.block.argument_address(0)));
    // SAFETY: argv's string.
    let text = unsafe { CStr::from_ptr(full) }.to_bytes();
    let start = text.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash.wrapping_add(1));
    let values =
        [(c"program_invocation_name", full), (c"program_invocation_short_name", full.wrapping_add(start))];
    for (variable, value) in values {
        if let Some(place) = symbol(variable) {
            // SAFETY: libc's variable of that type (<errno.h>).
            unsafe { place.cast::<*const c_char>().write(value) };
        }
    }
}
