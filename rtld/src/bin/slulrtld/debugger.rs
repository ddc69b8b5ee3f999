//! The rendezvous with debuggers: `_r_debug`, `_dl_debug_state`, and the list of objects (gdb's solib-svr4).
//!
//! While libc is absent, `_r_debug` lists the program, its libraries and the loader. Once it is there,
//! `_r_debug` lists what libc's ld.so knows, and a second `r_debug` behind `r_next` lists ours: a debugger
//! then takes libc for the program's first namespace, where libthread_db looks for threads.
//!
//! # Safety
//! This file exists because the debugger reads, and ld.so has written, structures by address.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use rtld::addr::{RuntimeAddr, to_usize};
use rtld::arena::OutOfMemory;
use rtld::seam::Image;

use super::process::Process;

/// `struct r_debug` of <link.h>, version 2.
#[repr(C)]
pub(crate) struct RDebug {
    version: AtomicI32,
    map: AtomicUsize,
    breakpoint: AtomicUsize,
    state: AtomicI32,
    loader_base: AtomicUsize,
    next: AtomicUsize,
}

impl RDebug {
    const fn new(version: i32) -> Self {
        Self {
            version: AtomicI32::new(version),
            map: AtomicUsize::new(0),
            breakpoint: AtomicUsize::new(0),
            state: AtomicI32::new(RT_CONSISTENT),
            loader_base: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
        }
    }
}

const RT_CONSISTENT: i32 = 0;
const RT_ADD: i32 = 1;

/// Read by debuggers, through DT_DEBUG or by its name.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name that debuggers look for")]
pub(crate) static _r_debug: RDebug = RDebug::new(1);

/// The objects of this world, once libc is there.
static OWN: RDebug = RDebug::new(2);

/// Debuggers put a breakpoint here. Called before and after each change of the list.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn _dl_debug_state() {
    // Something that the compiler has to keep.
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// `struct link_map` of <link.h>: its public part.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: usize,
    dynamic: usize,
    next: AtomicUsize,
    previous: usize,
}

/// Address of `_r_debug`.
pub(crate) fn address() -> RuntimeAddr {
    RuntimeAddr::of(&raw const _r_debug)
}

/// Sets what both lists have in common, and says that a change is coming.
fn begin_change() {
    _r_debug.breakpoint.store(_dl_debug_state as *const () as usize, Ordering::Relaxed);
    let base = super::start::own_header().as_ptr().expose_provenance();
    _r_debug.loader_base.store(base, Ordering::Relaxed);
    _r_debug.state.store(RT_ADD, Ordering::Release);
    _dl_debug_state();
}

fn end_change() {
    _r_debug.state.store(RT_CONSISTENT, Ordering::Release);
    _dl_debug_state();
}

/// Lists program, libraries and loader. Without memory for the list a debugger sees none; the program runs.
pub(crate) fn announce_own(process: &Process) {
    begin_change();
    _r_debug.map.store(own_list(process).unwrap_or(0), Ordering::Release);
    end_change();
}

/// Lists what libc's ld.so knows, and ours behind it. `slot` is the DT_DEBUG that ld.so has filled.
pub(crate) fn announce_libc(process: &Process, slot: RuntimeAddr) {
    begin_change();
    let own = match _r_debug.map.load(Ordering::Acquire) {
        0 => own_list(process).unwrap_or(0),
        list => list,
    };
    let slot: *const usize = ptr::with_exposed_provenance(to_usize(slot.0));
    // SAFETY: the value of DT_DEBUG in the template's dynamic section, which ld.so has written.
    let libc = unsafe { slot.read() };
    let libc: *const RDebug = ptr::with_exposed_provenance(libc);
    // SAFETY: null, or ld.so's own `r_debug`, whose first version has the fields that are read here.
    if let Some(libc) = unsafe { libc.as_ref() } {
        OWN.map.store(own, Ordering::Relaxed);
        OWN.breakpoint.store(_r_debug.breakpoint.load(Ordering::Relaxed), Ordering::Relaxed);
        OWN.loader_base.store(_r_debug.loader_base.load(Ordering::Relaxed), Ordering::Relaxed);
        _r_debug.next.store((&raw const OWN).expose_provenance(), Ordering::Relaxed);
        _r_debug.map.store(libc.map.load(Ordering::Relaxed), Ordering::Relaxed);
        _r_debug.version.store(2, Ordering::Release);
    } else {
        _r_debug.map.store(own, Ordering::Release);
    }
    end_change();
}

/// Makes the list; answers the address of its first entry.
fn own_list(process: &Process) -> Result<usize, OutOfMemory> {
    let arena = process.arena;
    let (mut first, mut previous): (usize, Option<&'static LinkMap>) = (0, None);
    for (index, module) in process.sealed.namespace.all().iter().enumerate() {
        // A debugger knows the program by another way, and takes the first entry for it.
        let path = if index == 0 { b"" } else { module.path };
        let name = arena.concat(&[path, b"\0"])?;
        let bias = module.image.bias();
        let dynamic = module.plan.dynamic.map_or(RuntimeAddr(0), |place| bias.runtime(place.vaddr));
        let before = previous.map_or(0, |previous| ptr::from_ref(previous).expose_provenance());
        let map: &'static LinkMap = arena.put(LinkMap {
            bias: to_usize(bias.0),
            name: name.as_ptr().expose_provenance(),
            dynamic: to_usize(dynamic.0),
            next: AtomicUsize::new(0),
            previous: before,
        })?;
        let address = ptr::from_ref(map).expose_provenance();
        match previous {
            Some(previous) => previous.next.store(address, Ordering::Relaxed),
            None => first = address,
        }
        previous = Some(map);
    }
    Ok(first)
}
