//! The data of each thread: its thread-local blocks, and a small state of the loader among them.
//!
//! The blocks of the start's objects are at fixed distances from the thread pointer, also in threads that libc makes.
//! Those of libraries opened at run time are in the reserve beyond them, which is zero in a new thread; a thread copies
//! the initial values there when it first asks `__tls_get_addr` for such a block.
//!
//! # Safety
//! This file exists because thread-local storage is found by an address in a register. Wherever a thread pointer is
//! set, the whole layout is in place (by `main_thread::set_up`, and in libc's own threads by the template's PT_TLS).
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::base::report::Line;
use rtld::base::text::Text;
use rtld::elf::plan::TlsSegment;
use rtld::error::Failure;
use rtld::link::namespace::{Module, TlsPlace};
use rtld::link::reloc::{AT_THREAD_POINTER, TlsDescArg};
use rtld::link::tls::{self, TlsLayout};
use rtld::machine::{Machine, Native};
use rtld::open::libraries::TLS_MODULES;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::words;

use crate::run::cpu::calls;
use crate::run::last_words::{REFUSED, say};
use crate::run::sync::Blocked;

/// Bytes reserved in every thread for the thread-local storage of libraries opened at run time. libcs take them from
/// the requested stack of a thread: PTHREAD_STACK_MIN, 16 KiB, must leave enough.
const RESERVE: u64 = 4 << 10;

/// Longest text of `slul_dlerror` in bytes, its NUL included.
const MESSAGE: usize = 512;

/// The loader's state of a thread. Its initial value is zero.
#[repr(C)]
struct ThreadState {
    /// One bit for each library opened at run time: whether its block has the initial values.
    ready: u64,
    /// Whether there is a message that `slul_dlerror` has not returned yet.
    failed: u64,
    message: [u8; MESSAGE],
}

/// A distance that no block has. All distances are less than 1 GiB.
const NOWHERE: i64 = i64::MIN;

/// Distance of [`ThreadState`] from the thread pointer in bytes, or [`NOWHERE`].
pub(crate) static STATE_DISTANCE: AtomicI64 = AtomicI64::new(NOWHERE);

/// Distances of the modules' blocks from the thread pointer, by module id; [`NOWHERE`] for none.
static DISTANCES: AtomicPtr<AtomicI64> = AtomicPtr::new(ptr::null_mut());

/// Number of entries of [`DISTANCES`].
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Smallest id of a library opened at run time.
static FIRST_LATE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Initial image of a library's block: address and size in bytes.
struct Late {
    image: AtomicUsize,
    size: AtomicUsize,
}

static LATE: [Late; TLS_MODULES] =
    [const { Late { image: AtomicUsize::new(0), size: AtomicUsize::new(0) } }; TLS_MODULES];

/// Fixes the layout, with room for the loader's state and for libraries opened later.
pub(crate) fn make_room(layout: &mut TlsLayout) -> Result<(), Failure<'static>> {
    let size = from_usize(size_of::<ThreadState>());
    let align = from_usize(align_of::<ThreadState>());
    let distance = layout.place(&TlsSegment { vaddr: Vaddr(0), file_size: 0, mem_size: size, align })?;
    STATE_DISTANCE.store(distance, Ordering::Relaxed);
    layout.reserve(RESERVE);
    Ok(())
}

/// Makes the table of distances. `bound` is greater than the number of any module of the start.
pub(crate) fn set_up(
    arena: &'static Arena,
    bound: usize,
    blocks: impl Iterator<Item = TlsPlace>,
) -> Result<(), OutOfMemory> {
    let first = bound.wrapping_add(1);
    let count = first.saturating_add(TLS_MODULES);
    let table = arena.slice(count, NOWHERE)?;
    DISTANCES.store(table.as_mut_ptr().cast(), Ordering::Relaxed);
    FIRST_LATE.store(first, Ordering::Relaxed);
    COUNT.store(count, Ordering::Release);
    for TlsPlace { distance, id, .. } in blocks {
        if let Some(entry) = distance_of(to_usize(id)) {
            entry.store(distance, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn distance_of(id: usize) -> Option<&'static AtomicI64> {
    let table = DISTANCES.load(Ordering::Relaxed);
    // SAFETY: the table has `COUNT` entries, and lives as long as the process.
    (id < COUNT.load(Ordering::Acquire)).then(|| unsafe { &*table.add(id) })
}

/// Adds the block of a library opened at run time to the table, before any code of the library runs.
pub(crate) fn admit(module: &Module<'static, MappedImage>) {
    let (Some(place), Some(segment)) = (module.tls, module.image.plan().tls) else { return };
    let late = to_usize(place.id).checked_sub(FIRST_LATE.load(Ordering::Relaxed)).and_then(|late| LATE.get(late));
    if let (Some(late), Some(entry)) = (late, distance_of(to_usize(place.id))) {
        late.image.store(to_usize(module.image.bias().runtime(segment.vaddr).0), Ordering::Relaxed);
        late.size.store(to_usize(segment.file_size), Ordering::Relaxed);
        entry.store(place.distance, Ordering::Release);
    }
}

/// Module and offset of a thread-local variable, in the words that relocation writes (`RelocKind::DtpModule`,
/// `DtpOffset`).
#[repr(C)]
pub(crate) struct TlsIndex {
    module: u64,
    offset: u64,
}

/// Address of a thread-local variable in the calling thread.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __tls_get_addr(index: &TlsIndex) -> usize {
    if index.module == AT_THREAD_POINTER {
        // SAFETY: native libraries with thread-local storage are loaded, so a thread pointer is set.
        return unsafe { calls::thread_pointer() }.wrapping_add(to_usize(index.offset));
    }
    match block(to_usize(index.module)) {
        Some(block) => block.wrapping_add(to_usize(index.offset.wrapping_add(Native::TLS.dtp_bias))),
        None => {
            say(words!("__tls_get_addr: no module {} with thread-local storage", index.module));
            calls::exit_group(REFUSED)
        }
    }
}

/// Address of a module's block in the calling thread, with its initial values.
pub(crate) fn block(id: usize) -> Option<usize> {
    let distance = distance_of(id)?.load(Ordering::Acquire);
    if distance == NOWHERE {
        return None;
    }
    // SAFETY: a module has thread-local storage, so a thread pointer was set before anything of it ran.
    let block = tls::address(unsafe { calls::thread_pointer() }, distance);
    if let Some(late) = id.checked_sub(FIRST_LATE.load(Ordering::Relaxed)) {
        make_ready(late, block);
    }
    Some(block)
}

/// Gives the block of a library its initial values in the calling thread; `described` is the address of a
/// [`TlsDescArg`].
pub(crate) fn make_described_ready(described: u64) {
    let described: *const TlsDescArg = ptr::with_exposed_provenance(to_usize(described));
    // SAFETY: relocation made it, in an arena that is kept for good, like every module with thread-local storage.
    let late = unsafe { &*described }.ready.trailing_zeros();
    let first = FIRST_LATE.load(Ordering::Relaxed);
    let _ = block(first.saturating_add(to_usize(late.into())));
}

/// Gives a block its initial values, unless the thread has done so before.
fn make_ready(late: usize, block: usize) {
    let (Some(state), Some(Late { image, size })) = (state(), LATE.get(late)) else { return };
    let bit = 1u64.checked_shl(u32::try_from(late).unwrap_or(u32::MAX)).unwrap_or(0);
    let ready = |set: u64| {
        // SAFETY: the calling thread's own state, to which no reference exists anywhere.
        let ready = unsafe { &raw mut (*state).ready };
        // SAFETY: a word of the calling thread's own state.
        let old = unsafe { ready.read() };
        // SAFETY: a word of the calling thread's own state.
        unsafe { ready.write(old | set) };
        old & bit != 0
    };
    if ready(0) {
        return;
    }
    // A signal handler that uses the block in the middle of this would find half of the values, or lose its changes.
    let _blocked = Blocked::new();
    if !ready(bit) {
        let image: *const u8 = ptr::with_exposed_provenance(image.load(Ordering::Relaxed));
        let block: *mut u8 = ptr::with_exposed_provenance_mut(block);
        // SAFETY: the module stays mapped, like every module with thread-local storage; the block is this thread's, in
        // the reserve, and has room for the image.
        unsafe { block.copy_from_nonoverlapping(image, size.load(Ordering::Relaxed)) };
    }
}

/// The calling thread's state; `None` in a program whose threads have none.
fn state() -> Option<*mut ThreadState> {
    let distance = STATE_DISTANCE.load(Ordering::Relaxed);
    // SAFETY: there is a state, so a thread pointer is set.
    let at = || tls::address(unsafe { calls::thread_pointer() }, distance);
    (distance != NOWHERE).then(|| ptr::with_exposed_provenance_mut(at()))
}

/// Keeps a message for `slul_dlerror`. Longer ones are cut to 511 bytes.
pub(crate) fn fail(text: &dyn Text) {
    let Some(state) = state() else { return };
    let line = Line::bare(text);
    let text = line.text();
    let text = text.get(..text.len().min(MESSAGE.saturating_sub(1))).unwrap_or_default();
    // SAFETY: the calling thread's own; the program may hold a pointer to the message, but is inside this call.
    let message = unsafe { (&raw mut (*state).message).cast::<u8>() };
    // SAFETY: shorter than the message.
    unsafe { message.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    // SAFETY: within the message: the text is shorter by one byte at least.
    unsafe { message.add(text.len()).write(0) };
    // SAFETY: the calling thread's own.
    unsafe { (&raw mut (*state).failed).write(1) };
}

/// Whether there is a message that `slul_dlerror` has not returned yet.
pub(crate) fn has_failed() -> bool {
    // SAFETY: the calling thread's own.
    state().is_some_and(|state| unsafe { (&raw const (*state).failed).read() } != 0)
}

/// Message of the thread's last failure, returned once; then null until the next failure.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dlerror() -> *const u8 {
    let Some(state) = state() else { return ptr::null() };
    // SAFETY: the calling thread's own.
    let failed = unsafe { (&raw mut (*state).failed).replace(0) };
    // SAFETY: the calling thread's own.
    if failed == 0 { ptr::null() } else { unsafe { (&raw const (*state).message).cast() } }
}

/// Address of a thread-local symbol in the calling thread.
pub(crate) fn address(place: TlsPlace, value: u64) -> Option<RuntimeAddr> {
    let block = block(to_usize(place.id))?;
    Some(RuntimeAddr(from_usize(block).wrapping_add(value)))
}
