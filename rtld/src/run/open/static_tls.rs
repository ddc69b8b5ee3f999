//! Initial values of static thread-local storage that comes with a library that is opened. Its code takes the place for
//! granted, so all threads have to have the values before any of the code runs: the calling one, those that libc makes later,
//! which copy an image, and those that exist.
//!
//! Other threads are found by the kernel: /proc has their ids, and get_robust_list(2) an address that glibc keeps at one
//! distance from each thread pointer. musl has no such address; there, as by its own dlopen, such a library is refused, if there
//! are other threads. They are written to by process_vm_writev(2), because one may end meanwhile, with its memory.
//!
//! # Safety
//! This file exists because storage is found by thread pointers, and system calls take addresses.
#![allow(unsafe_code)]

use core::ptr;

use rtld::base::addr::to_usize;
use rtld::base::arena::Arena;
use rtld::error::{Failure, Problem};
use rtld::link::tls::{LateTls, address};
use rtld::os::sys;

use crate::platform::{main_thread, presence};
use crate::run::cpu::{calls, number};
use crate::run::process::Process;
use crate::run::sync::{process_id, thread_id};
use crate::run::thread_pointer::require_known;

/// Gives the storage of a library its initial values, if it is static.
///
/// # Errors
/// [`Problem::TlsThreads`] if there are other threads of libc that can not be given them; [`Problem::ForeignThread`] in a thread
/// whose thread pointer the program has set; out of memory.
pub(crate) fn give(process: &Process, late: &LateTls) -> Result<(), Failure<'static>> {
    let Some(distance) = late.distance().filter(|_| late.segment.file_size != 0 || !late.is_clean()) else {
        return Ok(());
    };
    require_known(process.page)?;
    let scratch = process.arena.scratch();
    let values = values(&scratch, late)?;
    if presence::is_bound() {
        // Where they can not be found nothing is changed.
        let mut before = for_each_other(|_| Ok(()))?;
        // First for those that are made from now on: what exists then is found.
        main_thread::write_image(process, distance, values)?;
        let mut walks = 0u32;
        loop {
            let now = for_each_other(|other| write_to(address(other, distance), values))?;
            if now == before && walks != 0 && !now.vanished {
                break;
            }
            before = now;
            walks = walks.wrapping_add(1);
            if walks == WALKS {
                return Err(Problem::TlsThreads.into());
            }
        }
    }
    // SAFETY: libraries can be opened, so threads have a state, and a thread pointer is set.
    let own = address(unsafe { calls::thread_pointer() }, distance);
    let own: *mut u8 = ptr::with_exposed_provenance_mut(own);
    // SAFETY: the calling thread's own storage, in the reserve, of which nothing knows yet.
    unsafe { own.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// The initial contents of a block.
///
/// # Errors
/// Out of memory.
pub(crate) fn values<'s>(scratch: &'s Arena, late: &LateTls) -> Result<&'s [u8], Failure<'static>> {
    let values = scratch.bytes(to_usize(late.segment.mem_size), 1)?;
    let from: *const u8 = ptr::with_exposed_provenance(to_usize(late.image.0));
    let size = to_usize(late.segment.file_size).min(values.len());
    // SAFETY: the library is mapped, and its image was found to be in its memory; the values are fresh memory.
    unsafe { values.as_mut_ptr().copy_from_nonoverlapping(from, size) };
    Ok(values)
}

/// Number of walks through the threads after which it is no use: two of them have to meet the same, because one during which a
/// thread ends may leave another out (the kernel goes on from the thread that it showed last).
const WALKS: u32 = 2000;

/// What one walk has met.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Met {
    /// Number of threads, and sums of their ids and of the squares of those, which tell sets of threads apart.
    threads: [u64; 3],
    /// Whether one of them has ended meanwhile.
    vanished: bool,
}

impl Met {
    fn note(&mut self, thread: i32) {
        let id = u64::from(thread.unsigned_abs());
        for (sum, term) in self.threads.iter_mut().zip([1, id, id.wrapping_mul(id)]) {
            *sum = sum.wrapping_add(term);
        }
    }
}

/// Calls `found` with the thread pointer of each thread of libc's but the calling one.
///
/// # Errors
/// That of `found`; [`Problem::TlsThreads`] if not all threads can be found.
fn for_each_other(mut found: impl FnMut(usize) -> Result<(), Problem<'static>>) -> Result<Met, Failure<'static>> {
    let own = thread_id();
    let mut met = Met::default();
    // SAFETY: libc has started.
    let own_pointer = unsafe { calls::thread_pointer() };
    let distance = robust_list(own).map(|list| list.wrapping_sub(own_pointer));
    let (mut all, mut own_is_listed) = (Ok(()), false);
    let listed = sys::for_each_thread(|thread| {
        own_is_listed |= thread == own;
        met.note(thread);
        if thread != own && all.is_ok() {
            all = distance.ok_or(Problem::TlsThreads).and_then(|distance| match list_of(thread)? {
                Some(list) => found(list.wrapping_sub(distance)),
                None => {
                    met.vanished |= u32::try_from(thread) != Ok(process_id());
                    Ok(())
                }
            });
        }
    });
    all?;
    // The /proc of another PID namespace has other numbers.
    if listed.is_err() || !own_is_listed {
        return Err(Problem::TlsThreads.into());
    }
    Ok(met)
}

/// Address of another thread's list of robust mutexes; `None` if the thread has ended.
fn list_of(thread: i32) -> Result<Option<usize>, Problem<'static>> {
    /// Number of times that a thread is asked which has just been made, and has not told the kernel its address yet, or which
    /// is about to end; and how long is waited in between, in nanoseconds.
    const TRIES: usize = 400;
    const PAUSE: usize = 50_000;
    let pause = [0usize, PAUSE];
    for _ in 0..TRIES {
        let list = robust_list(thread);
        // The main thread has told its address before anything could be opened: it has ended, and is listed all the same.
        if list.is_some() || !exists(thread) || u32::try_from(thread) == Ok(process_id()) {
            return Ok(list);
        }
        // SAFETY: the kernel reads two words.
        unsafe { calls::system_call(number::NANOSLEEP, [(&raw const pause).expose_provenance(), 0, 0, 0]) };
    }
    Err(Problem::TlsThreads)
}

/// Address of a thread's list of robust mutexes, if it has told the kernel one.
fn robust_list(thread: i32) -> Option<usize> {
    let (mut head, mut size) = (0usize, 0usize);
    let (to_head, to_size) = ((&raw mut head).expose_provenance(), (&raw mut size).expose_provenance());
    let thread = usize::try_from(thread).unwrap_or(0);
    // SAFETY: the kernel writes two words.
    let result = unsafe { calls::system_call(number::GET_ROBUST_LIST, [thread, to_head, to_size, 0]) };
    (result == 0 && head != 0).then_some(head)
}

/// Whether the process has that thread.
fn exists(thread: i32) -> bool {
    let (process, thread) = (to_usize(process_id().into()), usize::try_from(thread).unwrap_or(0));
    // SAFETY: touches no memory; signal 0 is none.
    unsafe { calls::system_call(number::TGKILL, [process, thread, 0, 0]) == 0 }
}

/// Writes to memory of this process that may vanish.
///
/// # Errors
/// [`Problem::TlsThreads`] if the system does not let it be written to.
fn write_to(place: usize, bytes: &[u8]) -> Result<(), Problem<'static>> {
    const EFAULT: isize = -14;
    let from = [bytes.as_ptr().expose_provenance(), bytes.len()];
    let to = [place, bytes.len()];
    let (from, to) = ((&raw const from).expose_provenance(), (&raw const to).expose_provenance());
    // By the thread's id: the process's is that of the main thread, which has no memory once it has ended.
    let own = usize::try_from(thread_id()).unwrap_or(0);
    // SAFETY: the storage of a thread of libc's, in the reserve, of which nothing knows yet. If the thread ends just now the
    // kernel finds its memory gone, or kept by libc for another thread, which libc fills anew; see docs/weaknesses.md.
    match unsafe { calls::system_call_6(number::PROCESS_VM_WRITEV, [own, from, 1, to, 1, 0]) } {
        0.. | EFAULT => Ok(()),
        _ => Err(Problem::TlsThreads),
    }
}
