//! The loader's own state of each thread, which is part of its thread-local storage.
//!
//! # Safety
//! This file exists because that state is found by an address in a register. Wherever a thread pointer is set, the whole layout
//! is in place (by `main_thread::set_up`, and in libc's own threads by the template's PT_TLS).
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use rtld::base::addr::{Vaddr, from_usize};
use rtld::base::report::Line;
use rtld::base::text::Text;
use rtld::elf::plan::TlsSegment;
use rtld::error::Failure;
use rtld::link::tls::{self, TlsLayout};

use crate::run::cpu::calls;
use crate::run::foreign;
use crate::run::process::Process;
use crate::run::thread_pointer::is_known;

/// Bytes reserved in every thread for the initial-exec thread-local storage of libraries opened at run time. libcs take
/// them from the requested stack of a thread: PTHREAD_STACK_MIN, 16 KiB, must leave enough.
const RESERVE: u64 = 4 << 10;

/// Longest text of `slul_dlerror` in bytes, its NUL included.
const MESSAGE: usize = 512;

/// The loader's state of a thread. Its initial value is zero.
#[repr(C)]
struct ThreadState {
    /// Address of the thread's table of blocks (`blocks.rs`); 0 if it has none. Assembly reads it.
    table: AtomicUsize,
    /// Whether there is a message that `slul_dlerror` has not returned yet.
    failed: u64,
    message: [u8; MESSAGE],
}

/// A distance that no block has. All distances are less than 1 GiB.
const NOWHERE: i64 = i64::MIN;

/// Distance of [`ThreadState`] from the thread pointer in bytes, or [`NOWHERE`].
pub(crate) static STATE_DISTANCE: AtomicI64 = AtomicI64::new(NOWHERE);

/// Fixes the layout, with room for the loader's state and for libraries opened later.
pub(crate) fn make_room(layout: &mut TlsLayout) -> Result<(), Failure<'static>> {
    let size = from_usize(size_of::<ThreadState>());
    let align = from_usize(align_of::<ThreadState>());
    let distance = layout.place(&TlsSegment { vaddr: Vaddr(0), file_size: 0, mem_size: size, align })?;
    STATE_DISTANCE.store(distance, Ordering::Relaxed);
    layout.reserve(RESERVE);
    Ok(())
}

/// The word with the address of the calling thread's table of blocks; `None` in a program whose threads have none.
pub(crate) fn table() -> Option<&'static AtomicUsize> {
    // SAFETY: the calling thread's own state, which stays as long as the thread.
    state().map(|state| unsafe { &(*state).table })
}

/// The calling thread's state; `None` in a program whose threads have none.
fn state() -> Option<*mut ThreadState> {
    let distance = STATE_DISTANCE.load(Ordering::Relaxed);
    // SAFETY: there is a state, so a thread pointer is set.
    let at = || tls::address(unsafe { calls::thread_pointer() }, distance);
    (distance != NOWHERE).then(|| ptr::with_exposed_provenance_mut(at()))
}

/// Whether the calling thread's thread pointer leads to its blocks and its state.
#[inline(never)]
pub(crate) fn is_mine() -> bool {
    Process::get().is_none_or(|process| is_known(process.page))
}

/// The state with the calling thread's message. In a thread whose thread pointer is the program's own it is in other memory,
/// because what that leads to is not the loader's.
#[inline(never)]
fn state_of_message() -> Option<*mut ThreadState> {
    if STATE_DISTANCE.load(Ordering::Relaxed) == NOWHERE || is_mine() {
        return state();
    }
    foreign::place().map(NonNull::as_ptr)
}

/// Keeps a message for `slul_dlerror`. Longer ones are cut to 511 bytes.
pub(crate) fn fail(text: &dyn Text) {
    let Some(state) = state_of_message() else { return };
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
    state_of_message().is_some_and(|state| unsafe { (&raw const (*state).failed).read() } != 0)
}

/// Message of the thread's last failure, returned once; then null until the next failure.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dlerror() -> *const u8 {
    let Some(state) = state_of_message() else { return ptr::null() };
    // SAFETY: the calling thread's own.
    let failed = unsafe { (&raw mut (*state).failed).replace(0) };
    // SAFETY: the calling thread's own.
    if failed == 0 { ptr::null() } else { unsafe { (&raw const (*state).message).cast() } }
}
