//! The rendezvous with debuggers: `_r_debug`, `_dl_debug_state`, and the list of objects (gdb's solib-svr4).
//!
//! While libc is absent, `_r_debug` lists the program, its libraries and the loader. Once libc is present, `_r_debug`
//! lists the objects of libc's ld.so, and a second `r_debug`, linked by `r_next`, lists the objects of this world: a
//! debugger then takes libc for the program's first namespace, where libthread_db looks for threads.
//!
//! # Safety
//! This file exists because the debugger reads these structures, and ld.so has written some, by address.
#![allow(unsafe_code)]

use core::ffi::c_char;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::link::namespace::Module;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::run::kernel::own_header;
use crate::run::process::Process;

/// `struct r_debug` of <link.h>, version 2.
#[repr(C)]
pub(crate) struct RDebug {
    pub(crate) version: AtomicI32,
    pub(crate) map: AtomicUsize,
    pub(crate) breakpoint: AtomicUsize,
    state: AtomicI32,
    pub(crate) loader_base: AtomicUsize,
    pub(crate) next: AtomicUsize,
}

impl RDebug {
    pub(crate) const fn new(version: i32) -> Self {
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
/// Objects are being added to the list.
pub(crate) const RT_ADD: i32 = 1;
/// Objects are being removed from the list.
pub(crate) const RT_DELETE: i32 = 2;

/// Found by debuggers through DT_DEBUG or by its name.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name that debuggers look for")]
pub(crate) static _r_debug: RDebug = RDebug::new(1);

/// A function for debuggers' breakpoints, called before and after each change of the list.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn _dl_debug_state() {
    // Keeps the compiler from removing the call.
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// `struct link_map` of <link.h>: its public part.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: usize,
    dynamic: usize,
    next: AtomicUsize,
    previous: AtomicUsize,
}

/// First and last entry of the list of this world; 0 if it is empty.
pub(crate) static FIRST: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Address of `_r_debug`.
pub(crate) fn address() -> RuntimeAddr {
    RuntimeAddr::of(&raw const _r_debug)
}

/// Sets the fields that both lists share, and announces a change: `state` is [`RT_ADD`] or [`RT_DELETE`].
pub(crate) fn begin_change(state: i32) {
    _r_debug.breakpoint.store(_dl_debug_state as *const () as usize, Ordering::Relaxed);
    let base = own_header().as_ptr().expose_provenance();
    _r_debug.loader_base.store(base, Ordering::Relaxed);
    _r_debug.state.store(state, Ordering::Release);
    _dl_debug_state();
}

/// Announces that the list is consistent again.
pub(crate) fn end_change() {
    _r_debug.state.store(RT_CONSISTENT, Ordering::Release);
    _dl_debug_state();
}

/// Lists the program, libraries and loader. If there is no memory for the list, debuggers see less of it; the program
/// runs.
pub(crate) fn announce_own(process: &Process) {
    begin_change(RT_ADD);
    // A list that is cut short is better than none.
    let _ = list_own(process);
    _r_debug.map.store(FIRST.load(Ordering::Relaxed), Ordering::Release);
    end_change();
}

/// Adds the objects of the start to the list.
pub(crate) fn list_own(process: &Process) -> Result<(), OutOfMemory> {
    for (index, module) in process.sealed.namespace.all() {
        add(process.arena, module, index == 0)?;
    }
    Ok(())
}

/// The list entry at `address`; `None` for 0.
fn entry(address: usize) -> Option<&'static LinkMap> {
    let entry: *const LinkMap = ptr::with_exposed_provenance(address);
    // SAFETY: null, or an entry that `add` made and `remove` did not take out.
    unsafe { entry.as_ref() }
}

/// Adds an object at the end of the list, between [`begin_change`] and [`end_change`]; returns the address of the
/// entry.
pub(crate) fn add(
    arena: &'static Arena,
    module: &Module<'static, MappedImage>,
    is_program: bool,
) -> Result<usize, OutOfMemory> {
    // A debugger takes the first entry for the program, whose file it knows by other means.
    let path = if is_program { b"" } else { module.path };
    let name = arena.concat(&[path, b"\0"])?;
    let bias = module.image.bias();
    let dynamic = module.image.plan().dynamic.map_or(RuntimeAddr(0), |place| bias.runtime(place.vaddr));
    append(arena, to_usize(bias.0), name.as_ptr().expose_provenance(), to_usize(dynamic.0))
}

/// Adds an entry at the end of the list; returns its address.
pub(crate) fn append(
    arena: &'static Arena,
    bias: usize,
    name: usize,
    dynamic: usize,
) -> Result<usize, OutOfMemory> {
    let last = LAST.load(Ordering::Relaxed);
    let map: &'static LinkMap =
        arena.put(LinkMap { bias, name, dynamic, next: AtomicUsize::new(0), previous: AtomicUsize::new(last) })?;
    let address = ptr::from_ref(map).expose_provenance();
    entry(last).map_or(&FIRST, |last| &last.next).store(address, Ordering::Release);
    LAST.store(address, Ordering::Relaxed);
    Ok(address)
}

/// Removes an entry, between [`begin_change`] and [`end_change`]. Its address is not used after that.
pub(crate) fn remove(address: usize) {
    let Some(map) = entry(address) else { return };
    let (next, previous) = (map.next.load(Ordering::Relaxed), map.previous.load(Ordering::Relaxed));
    entry(previous).map_or(&FIRST, |previous| &previous.next).store(next, Ordering::Release);
    entry(next).map_or(&LAST, |next| &next.previous).store(previous, Ordering::Relaxed);
}

/// The name in the entry at `address`; empty if there is no entry.
pub(crate) fn name(address: usize) -> *const c_char {
    entry(address).map_or(c"".as_ptr(), |map| ptr::with_exposed_provenance(map.name))
}

/// Calls `visit` with the address of each entry.
pub(crate) fn for_each<E>(mut visit: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
    let mut next = FIRST.load(Ordering::Relaxed);
    while let Some(map) = entry(next) {
        visit(next)?;
        next = map.next.load(Ordering::Relaxed);
    }
    Ok(())
}
