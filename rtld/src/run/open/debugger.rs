//! The rendezvous with debuggers: `_r_debug`, `_dl_debug_state`, and the list of objects (gdb's solib-svr4).
//!
//! While libc is absent, `_r_debug` lists the program, its libraries and the loader. Once libc is present, `_r_debug`
//! lists the objects of libc's ld.so, and a second `r_debug`, linked by `r_next`, lists the objects of this world: a
//! debugger then takes libc for the program's first namespace, where libthread_db looks for threads.
//!
//! A debugger takes the first entry for the file that the kernel has executed, which it knows by other means, and ignores
//! it. If that was the loader, an entry of the loader's comes before the program's, which has its path.
//!
//! Debuggers learn of a change by a breakpoint. In the loader it is at `_dl_debug_state`; where a stub has mapped the
//! loader, gdb knows no loader, and finds a function of that name in the program, the stub's: both are called.
//!
//! # Safety
//! This file exists because the debugger reads these structures, and ld.so has written some, by address, and because the
//! stub's function is called by its address.
#![allow(unsafe_code)]

use core::ffi::c_char;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::link::namespace::Module;
use rtld::link::search::ProgramPath;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::run::code;
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
pub(crate) struct LinkMap {
    pub(crate) bias: usize,
    pub(crate) name: usize,
    pub(crate) dynamic: usize,
    pub(crate) next: AtomicUsize,
    pub(crate) previous: AtomicUsize,
}

/// Size in bytes of an entry that is a handle of `slul_dlopen`, too. glibc takes any handle for the address of its own structure,
/// of which nothing is checked, and which is longer: 1 152 bytes in 2.36. Zeros there mean an object that has nothing, and is not
/// open.
const HANDLE_SIZE: usize = 2048;

/// First and last entry of the list of this world, without the one before the program's; 0 if it is empty.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Entry of the loader before all others, where it was executed itself; 0 if there is none.
static HEAD: AtomicUsize = AtomicUsize::new(0);
/// Whether there is to be one.
static EXECUTED: AtomicBool = AtomicBool::new(false);
/// The stub's function; 0 if there is none.
static CHANGED: AtomicUsize = AtomicUsize::new(0);

/// Tells of the start, before anything is listed: whether the loader itself was executed, and the function of the program's
/// stub, which is code of the program.
pub(crate) fn set_up(executed: bool, changed: Option<RuntimeAddr>) {
    EXECUTED.store(executed, Ordering::Relaxed);
    CHANGED.store(changed.map_or(0, |address| to_usize(address.0)), Ordering::Relaxed);
}

/// Whether debuggers know nothing of the program, because the loader itself was executed.
pub(crate) fn is_program_hidden() -> bool {
    EXECUTED.load(Ordering::Relaxed)
}

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
    stop();
}

/// Announces that the list is consistent again.
pub(crate) fn end_change() {
    _r_debug.state.store(RT_CONSISTENT, Ordering::Release);
    stop();
}

/// Debuggers have their breakpoints here.
fn stop() {
    _dl_debug_state();
    let changed = CHANGED.load(Ordering::Relaxed);
    if changed != 0 {
        // SAFETY: code of the program, and by the stub's note a function that does nothing.
        let changed: extern "C" fn() = unsafe { code::function(RuntimeAddr(from_usize(changed))) };
        changed();
    }
}

/// The two entries of a plain start whose program was handed over (`early/listed.rs`), in words.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "a symbol for the code before relocation")]
static slul_plain_list: [AtomicUsize; 2 * size_of::<LinkMap>() / size_of::<usize>()] =
    [const { AtomicUsize::new(0) }; 2 * size_of::<LinkMap>() / size_of::<usize>()];

/// Address of the first entry; 0 if there is none.
pub(crate) fn first() -> usize {
    match HEAD.load(Ordering::Relaxed) {
        0 => FIRST.load(Ordering::Relaxed),
        head => head,
    }
}

/// Lists the program, libraries and loader. If there is no memory for the list, debuggers see less of it; the program
/// runs.
pub(crate) fn announce_own(process: &Process) {
    begin_change(RT_ADD);
    // A list that is cut short is better than none.
    let _ = list_own(process);
    _r_debug.map.store(first(), Ordering::Release);
    end_change();
}

/// Adds the objects of the start to the list.
pub(crate) fn list_own(process: &Process) -> Result<(), OutOfMemory> {
    for (index, module) in process.sealed.namespace.all() {
        let path = match (index, process.program_path) {
            (0, _) if !is_program_hidden() => b"",
            (0, ProgramPath::Known(Some(path))) => path,
            _ => module.path,
        };
        add(process.arena, module, path, process.sealed.seen.opens)?;
    }
    if is_program_hidden() {
        let (next, previous) = (AtomicUsize::new(FIRST.load(Ordering::Relaxed)), AtomicUsize::new(0));
        let (bias, name) = (own_header().as_ptr().expose_provenance(), c"".as_ptr().expose_provenance());
        let map: &'static LinkMap = process.arena.put(LinkMap { bias, name, dynamic: 0, next, previous })?;
        let head = ptr::from_ref(map).expose_provenance();
        if let Some(program) = entry(FIRST.load(Ordering::Relaxed)) {
            program.previous.store(head, Ordering::Relaxed);
        }
        HEAD.store(head, Ordering::Relaxed);
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
/// entry. Its name is `path`, or empty if that is no path: gdb would look for a file of that name elsewhere.
pub(crate) fn add(
    arena: &'static Arena,
    module: &Module<'static, MappedImage>,
    path: &[u8],
    is_handle: bool,
) -> Result<usize, OutOfMemory> {
    let path = if path.contains(&b'/') { path } else { b"" };
    let name = arena.concat(&[path, b"\0"])?;
    let bias = module.image.bias();
    let dynamic = module.image.plan().dynamic.map_or(RuntimeAddr(0), |place| bias.runtime(place.vaddr));
    append(arena, to_usize(bias.0), name.as_ptr().expose_provenance(), to_usize(dynamic.0), is_handle)
}

/// Adds an entry at the end of the list; returns its address. `is_handle` says whether `slul_dlopen` may return that.
pub(crate) fn append(
    arena: &'static Arena,
    bias: usize,
    name: usize,
    dynamic: usize,
    is_handle: bool,
) -> Result<usize, OutOfMemory> {
    let last = LAST.load(Ordering::Relaxed);
    let entry_size = if is_handle { HANDLE_SIZE } else { size_of::<LinkMap>() };
    let map: *mut LinkMap = arena.bytes(entry_size, align_of::<LinkMap>())?.as_mut_ptr().cast();
    // SAFETY: fresh memory, large enough and aligned; its bytes of zero are an entry.
    let map: &'static mut LinkMap = unsafe { &mut *map };
    *map = LinkMap { bias, name, dynamic, next: AtomicUsize::new(0), previous: AtomicUsize::new(last) };
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
