//! The debuggers' list of a plain start whose program rt0 has handed over: the kernel has executed the loader, so a debugger
//! knows nothing of the program. Everything else about the list is in `run/open/debugger.rs`.
//!
//! Available here: what is available in `handed.rs`, and the loader's own data, once it is writable.
#![forbid(unsafe_code)]

use core::mem::offset_of;

use rtld::elf::consts;

use crate::cpu::ops::{debugger_rendezvous, debugger_stop, own_places, plain_list};
use crate::early::bootstrap::OwnData;
use crate::run::open::debugger::{_dl_debug_state, LinkMap, RDebug};

/// Lists the loader and the program: its load bias, its path and its dynamic section. If the loader's pages can not be made
/// writable nothing is listed, and the program runs.
#[inline(always)]
pub(crate) fn list_program(bias: usize, path: usize, program_dynamic: usize) {
    let Some(data) = OwnData::unsealed() else { return };
    let (header, rendezvous) = (own_places().0, debugger_rendezvous());
    let mut entries = data.dynamic_section();
    while let Some(entry) = entries.next() {
        if entry.tag() as u64 == consts::DT_DEBUG {
            data.put(entry.value_address(), rendezvous);
        }
        if entry.tag() as u64 == consts::DT_NULL {
            break;
        }
    }
    let first = plain_list();
    let second = first.wrapping_add(size_of::<LinkMap>());
    let put = |start: usize, offset: usize, value: usize| data.put(start.wrapping_add(offset), value);
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
