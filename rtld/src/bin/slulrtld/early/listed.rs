//! The debuggers' list of a plain start whose program rt0 has handed over: the kernel has executed the loader, so a debugger
//! knows nothing of the program. Everything else about the list is in `run/open/debugger.rs`.
//!
//! Available here: what is available in `handed.rs`, and the loader's variables, once this has made them writable.
//!
//! # Safety
//! This file exists because the loader's dynamic section and variables are written before the loader is relocated.
#![allow(unsafe_code)]

use core::mem::offset_of;

use linux_raw_sys::general::{__NR_mprotect, PROT_READ, PROT_WRITE};
use rtld::elf::{Dyn, consts};

use crate::cpu::ops::{call, debugger_rendezvous, debugger_stop, own_places, plain_list, store};
use crate::early::raw::Bytes;
use crate::run::open::debugger::{_dl_debug_state, LinkMap, RDebug};

/// Lists the loader and the program: its load bias, its path and its dynamic section. If the loader's pages can not be made
/// writable nothing is listed, and the program runs.
///
/// # Safety
/// Called once, and nothing else of the loader runs in this process after this but what reads.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_plain_listed(bias: usize, path: usize, program_dynamic: usize) {
    let (header, dynamic, _, end) = own_places();
    let (size, protection) = (end.wrapping_sub(dynamic), (PROT_READ | PROT_WRITE) as usize);
    // SAFETY: the loader's own pages, with nothing to execute in them.
    if unsafe { call(__NR_mprotect, [dynamic, size, protection, 0, 0, 0]) } != 0 {
        return;
    }
    let rendezvous = debugger_rendezvous();
    // SAFETY: the dynamic section ends with DT_NULL, before the end of these pages.
    let mut entries = unsafe { Bytes::new(dynamic, size) }.run::<Dyn>();
    while let Some(entry) = entries.next() {
        if entry.tag() as u64 == consts::DT_DEBUG {
            // SAFETY: a word of these pages, and this thread is the only one.
            unsafe { store(entry.value_address(), rendezvous) };
        }
        if entry.tag() as u64 == consts::DT_NULL {
            break;
        }
    }
    let first = plain_list();
    let second = first.wrapping_add(size_of::<LinkMap>());
    // SAFETY: words of these pages, and this thread is the only one.
    let put = |start: usize, offset: usize, value: usize| unsafe { store(start.wrapping_add(offset), value) };
    put(first, offset_of!(LinkMap, bias), header);
    put(first, offset_of!(LinkMap, name), c"".as_ptr() as usize);
    put(first, offset_of!(LinkMap, next), second);
    put(second, offset_of!(LinkMap, previous), first);
    put(second, offset_of!(LinkMap, bias), bias);
    put(second, offset_of!(LinkMap, name), path);
    put(second, offset_of!(LinkMap, dynamic), program_dynamic);
    put(rendezvous, offset_of!(RDebug, map), first);
    put(rendezvous, offset_of!(RDebug, breakpoint), debugger_stop());
    put(rendezvous, offset_of!(RDebug, loader_base), header);
    _dl_debug_state();
}
