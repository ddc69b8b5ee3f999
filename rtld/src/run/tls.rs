//! Addresses in thread-local storage, for code that asks.
//!
//! The blocks of the start's objects are at fixed distances from the thread pointer, also in threads that libc makes. So
//! are those of libraries opened at run time whose code takes that for granted: they are in the reserve beyond. Other
//! such libraries have blocks of their own (`blocks.rs`).
//!
//! # Safety
//! This file exists because relocated words hold addresses and module numbers. Wherever a thread pointer is set, the whole
//! layout is in place (by `main_thread::set_up`, and in libc's own threads by the template's PT_TLS).
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering};

use rtld::base::addr::{RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::link::reloc::{AT_THREAD_POINTER, TlsDescArg};
use rtld::link::tls::{self, LateTls, TlsPlace};
use rtld::machine::{Machine, Native};
use rtld::os::seam::Image;
use rtld::words;

use crate::platform::{main_thread, presence};
use crate::run::blocks;
use crate::run::cpu::calls;
use crate::run::last_words::{REFUSED, say};
use crate::run::process::Process;
use crate::run::thread;

/// A distance that no block has. All distances are less than 1 GiB.
const NOWHERE: i64 = i64::MIN;

/// Distances of the modules' blocks from the thread pointer, by module id; [`NOWHERE`] for none.
static DISTANCES: AtomicPtr<AtomicI64> = AtomicPtr::new(ptr::null_mut());

/// Number of entries of [`DISTANCES`].
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes the table of distances. `bound` is greater than the number of any module of the start.
pub(crate) fn set_up(
    arena: &'static Arena,
    bound: usize,
    blocks: impl Iterator<Item = TlsPlace<'static>>,
) -> Result<(), OutOfMemory> {
    let count = bound.wrapping_add(1);
    let table = arena.slice(count, NOWHERE)?;
    DISTANCES.store(table.as_mut_ptr().cast(), Ordering::Relaxed);
    COUNT.store(count, Ordering::Release);
    for place in blocks {
        if let (Some(entry), Some(distance)) = (distance_of(to_usize(place.id())), place.distance()) {
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
    let block = match to_usize(index.module) {
        id if id < LEAST_ADDRESS => start_block(id).unwrap_or_else(|| {
            say(words!("__tls_get_addr: no module {} with thread-local storage", id));
            calls::exit_group(REFUSED)
        }),
        late => {
            let late: *const LateTls = ptr::with_exposed_provenance(late);
            // SAFETY: a word of a library that is open, in which relocation wrote the address (`TlsPlace::id`).
            blocks::block(unsafe { &*late })
        }
    };
    block.wrapping_add(to_usize(index.offset.wrapping_add(Native::TLS.dtp_bias)))
}

/// No arena is below this address: the kernel places mappings far above it. A start has fewer modules.
const LEAST_ADDRESS: usize = 1 << 16;

/// Address of a block of the start's in the calling thread.
fn start_block(id: usize) -> Option<usize> {
    let distance = distance_of(id)?.load(Ordering::Acquire);
    // SAFETY: a module has thread-local storage, so a thread pointer was set before anything of it ran.
    (distance != NOWHERE).then(|| tls::address(unsafe { calls::thread_pointer() }, distance))
}

/// Address of a module's block in the calling thread, with its initial values.
pub(crate) fn block(place: TlsPlace<'_>) -> Option<usize> {
    match place {
        TlsPlace::Start { id, .. } => start_block(to_usize(id)),
        TlsPlace::Late(late) => Some(blocks::block(late)),
    }
}

/// Address of a module's block in the calling thread, which is to be one of the loader's or libc's; 0 if the thread has not asked
/// for it yet.
pub(crate) fn present_block(place: TlsPlace<'_>) -> usize {
    let block = match place {
        TlsPlace::Start { id, .. } => start_block(to_usize(id)),
        TlsPlace::Late(late) => blocks::present(late),
    };
    block.unwrap_or(0)
}

/// Gives the calling thread's storage of objects of the start, and that of later threads, the values of `words`, modules and addresses, as far as those are
/// initial values: they were written after the storage was made, where the program has stored nothing else by now.
#[inline(never)]
pub(crate) fn complete(process: &Process, words: impl Iterator<Item = (usize, Vaddr)>) {
    for (module, vaddr) in words {
        let module = process.sealed.namespace.module(module);
        let (Some(segment), Some(place)) = (module.image.plan().tls, module.tls) else { continue };
        let offset = vaddr.0.wrapping_sub(segment.vaddr.0);
        if offset.saturating_add(8) > segment.file_size {
            continue;
        }
        let (Some(block), Some(value)) = (block(place), module.image.get::<u64>(vaddr)) else { continue };
        let word: *mut u64 = ptr::with_exposed_provenance_mut(block.wrapping_add(to_usize(offset)));
        // SAFETY: a word of the calling thread's storage: it is within the initial values.
        if unsafe { word.read_unaligned() } == 0 {
            // SAFETY: likewise.
            unsafe { word.write_unaligned(value) };
        }
        if let Some(distance) = place.distance().filter(|_| presence::is_bound()) {
            // There is an image: libc was there before these values were.
            let _ =
                main_thread::write_image(process, distance.wrapping_add_unsigned(offset), &value.to_ne_bytes());
        }
    }
}

/// Gives the calling thread the block that a descriptor asks for; `described` is the address of a [`TlsDescArg`].
pub(crate) fn make_described_ready(described: u64) {
    let described: *const TlsDescArg<'static> = ptr::with_exposed_provenance(to_usize(described));
    // SAFETY: relocation made it, in memory that is kept as long as the library.
    blocks::block(unsafe { &*described }.late);
}

/// Address of a thread-local symbol in the calling thread; `None` if its thread pointer is the program's own.
pub(crate) fn address(place: TlsPlace<'_>, value: u64) -> Option<RuntimeAddr> {
    if !thread::is_mine() {
        return None;
    }
    let block = block(place)?;
    Some(RuntimeAddr(from_usize(block).wrapping_add(value)))
}
