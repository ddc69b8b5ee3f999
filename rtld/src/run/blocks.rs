//! Blocks of thread-local storage of libraries that are opened at run time. A thread makes one when it first asks for the
//! address of a variable in it (`__tls_get_addr`, a TLS descriptor, `slul_dlsym`), and gives it back when it closes the library, or
//! when it makes one for a library that has the slot of a closed one. When it has ended, another thread that ends gives its blocks
//! back.
//!
//! Each thread has a table of its blocks, with an entry for each slot. The key of an entry tells which library the block is
//! of; assembly compares it, too (`cpu/<cpu>/stubs.rs`). Small blocks are in the table's own pages.
//!
//! # Safety
//! This file exists because a table is found by the thread pointer, and blocks are bare memory. A table is used by its
//! thread alone, and by signal handlers there, which are kept out while it changes.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::link::tls::{LateTls, TABLE_ENTRY, TABLE_HEADER, address};
use rtld::os::sys;
use rtld::words;

use crate::platform::presence;
use crate::run::cpu::calls;
use crate::run::last_words::{REFUSED, say};
use crate::run::native::libc;
use crate::run::sync::{Blocked, is_gone, thread_id};
use crate::run::thread;

/// The beginning of a thread's table; entries follow.
#[repr(C, align(64))]
struct BlockTable {
    /// Bytes from the table's start to the end of its entries.
    limit: u64,
    /// All memory of the table.
    memory: NonNull<[u8]>,
    /// The smaller table that this one replaces: blocks are in its memory. Once the thread is ending, the next in [`ENDED`].
    older: Cell<Option<&'static BlockTable>>,
    /// Unused memory behind the entries: its address, and its size in bytes.
    unused: Cell<(usize, usize)>,
    /// Whether libc tells when the thread ends.
    is_known: Cell<bool>,
    /// Once libc has told: the thread; 0 before.
    ending: Cell<i32>,
}

/// One block.
#[repr(C)]
struct Entry {
    /// Key of the library; 0 for none.
    key: Cell<u64>,
    /// Address of the block.
    block: Cell<usize>,
    /// Memory to give back with it.
    memory: Cell<Option<NonNull<[u8]>>>,
}

const _: () = assert!(size_of::<BlockTable>() as u64 == TABLE_HEADER && size_of::<Entry>() as u64 == TABLE_ENTRY);

/// Entries of a thread's first table, and bytes for small blocks in each.
const ENTRIES: usize = 32;
const SMALL_BLOCKS: usize = 3008;

/// Largest block in bytes that is put into the table's memory.
const SMALL: usize = 1024;

impl BlockTable {
    fn entries(&self) -> &[Entry] {
        let first = self.memory.as_ptr().cast::<u8>().wrapping_add(size_of::<Self>()).cast::<Entry>();
        let count = to_usize(self.limit).saturating_sub(size_of::<Self>()).checked_div(size_of::<Entry>());
        // SAFETY: so many entries are behind the header, zero at first, which is a value of their type.
        unsafe { slice::from_raw_parts(first, count.unwrap_or(0)) }
    }

    fn entry(&self, late: &LateTls) -> Option<&Entry> {
        self.entries().get(late.slot())
    }

    /// A table with room for so many entries at least, which has those of `older`.
    fn new(entries: usize, older: Option<&'static Self>) -> Option<&'static Self> {
        let before = older.map_or(&[][..], Self::entries);
        let entries = entries.max(ENTRIES).max(before.len().saturating_mul(2));
        let end = entries.checked_mul(size_of::<Entry>())?.checked_add(size_of::<Self>())?;
        let memory = sys::anonymous_near(RuntimeAddr(0), end.checked_add(SMALL_BLOCKS)?)?;
        let left = memory.len().checked_sub(end)?;
        let table = Self {
            limit: from_usize(end),
            memory,
            older: Cell::new(older),
            unused: Cell::new((start_of(memory).wrapping_add(end), left)),
            is_known: Cell::new(older.is_some_and(|older| older.is_known.get())),
            ending: Cell::new(older.map_or(0, |older| older.ending.get())),
        };
        let place = memory.cast::<Self>();
        // SAFETY: fresh memory, aligned to a page, with room for the header.
        unsafe { place.write(table) };
        // SAFETY: just written; given back by `sweep` alone.
        let table = unsafe { place.as_ref() };
        for (to, from) in table.entries().iter().zip(before) {
            to.block.set(from.block.get());
            to.memory.set(from.memory.take());
            to.key.set(from.key.get());
        }
        Some(table)
    }

    /// Zeroed memory for a block: its address, and what is to be given back with it.
    fn room(&self, late: &LateTls) -> Option<(usize, Option<NonNull<[u8]>>)> {
        let (size, align) = (to_usize(late.segment.mem_size), to_usize(late.segment.align).max(1));
        // The block's address equals `p_vaddr` modulo the alignment (gABI, "Program Header").
        let misfit = |at: usize| to_usize(late.segment.vaddr.0).wrapping_sub(at) & align.wrapping_sub(1);
        let (next, left) = self.unused.get();
        let needed = size.checked_add(misfit(next))?;
        if size <= SMALL && needed <= left {
            self.unused.set((next.wrapping_add(needed), left.wrapping_sub(needed)));
            return Some((next.wrapping_add(misfit(next)), None));
        }
        let memory = sys::anonymous_near(RuntimeAddr(0), size.checked_add(align)?)?;
        let start = start_of(memory);
        Some((start.wrapping_add(misfit(start)), Some(memory)))
    }
}

/// The address of memory of which parts are used by address.
fn start_of(memory: NonNull<[u8]>) -> usize {
    memory.as_ptr().cast::<u8>().expose_provenance()
}

/// The calling thread's table.
fn table() -> Option<&'static BlockTable> {
    let table: *const BlockTable = ptr::with_exposed_provenance(thread::table()?.load(Ordering::Relaxed));
    // SAFETY: null, or the table that `make` put there, which stays until the thread's end.
    unsafe { table.as_ref() }
}

/// The block of a library that the calling thread has, if it has one. Static ones are not found before [`block`].
pub(crate) fn present(late: &LateTls) -> Option<usize> {
    let entry = table()?.entry(late)?;
    (entry.key.get() == late.key).then(|| entry.block.get())
}

/// The calling thread's block of a library, with its initial values. Ends the process if there is no memory for it.
pub(crate) fn block(late: &LateTls) -> usize {
    present(late).or_else(|| make(late)).unwrap_or_else(|| {
        say(words!(
            "no thread-local storage of {} bytes: there is no memory, or the thread pointer is the program's own",
            late.segment.mem_size
        ));
        calls::exit_group(REFUSED)
    })
}

fn make(late: &LateTls) -> Option<usize> {
    if !thread::is_mine() {
        return None;
    }
    let place = thread::table()?;
    // A signal handler that asks meanwhile would find half a block.
    let _blocked = Blocked::new();
    let known = table().filter(|table| late.entry < table.limit);
    let table = match known {
        Some(table) => table,
        None => {
            let table = BlockTable::new(late.slot().saturating_add(1), table())?;
            place.store(start_of(table.memory), Ordering::Relaxed);
            if table.ending.get() != 0 {
                push(table);
            }
            table
        }
    };
    tell_at_end(table);
    let entry = table.entry(late)?;
    if entry.key.get() == late.key {
        // By a signal handler, just before.
        return Some(entry.block.get());
    }
    let (block, memory) = match late.distance() {
        // SAFETY: the thread has a state, so a thread pointer is set.
        Some(distance) => (address(unsafe { calls::thread_pointer() }, distance), None),
        None => {
            let (block, memory) = table.room(late)?;
            let (from, size) = (late.image.0, late.segment.file_size.min(late.segment.mem_size));
            let image: *const u8 = ptr::with_exposed_provenance(to_usize(from));
            let to: *mut u8 = ptr::with_exposed_provenance_mut(block);
            // SAFETY: the library is open, and its image was found to be in its memory; the block is fresh.
            unsafe { to.copy_from_nonoverlapping(image, to_usize(size)) };
            (block, memory)
        }
    };
    dismiss(entry);
    entry.block.set(block);
    entry.memory.set(memory);
    entry.key.set(late.key);
    Some(block)
}

/// Takes a block out of the table, and gives its memory back.
fn dismiss(entry: &Entry) {
    entry.key.set(0);
    if let Some(memory) = entry.memory.take() {
        // SAFETY: of a library that was closed, or of a thread that ends: nothing uses the block any more.
        unsafe { sys::give_back(memory) };
    }
}

/// Gives the calling thread's block of a library back that is about to be unmapped. Other threads give theirs back later.
pub(crate) fn close(late: &LateTls) {
    if !thread::is_mine() {
        return;
    }
    let _blocked = Blocked::new();
    if let Some(entry) = table().and_then(|table| table.entry(late))
        && entry.key.get() == late.key
    {
        dismiss(entry);
    }
}

/// Forgets the places of static blocks in what was the calling thread's storage, of so many bytes from `start` on, before libc
/// made another.
#[cfg(not(using_libc))]
pub(crate) fn moved(start: usize, size: usize) {
    let is_old = |entry: &&Entry| entry.block.get().wrapping_sub(start) < size;
    for entry in table().map_or(&[][..], BlockTable::entries).iter().filter(is_old) {
        entry.key.set(0);
    }
}

/// The key of libc's by which it tells that a thread ends, plus 1; 0 if there is none yet.
static KEY: AtomicU64 = AtomicU64::new(0);

/// Lets libc tell when the calling thread ends. Without that, its blocks stay.
fn tell_at_end(table: &'static BlockTable) {
    if table.is_known.get() || !presence::is_bound() {
        return;
    }
    let mut key = KEY.load(Ordering::Acquire);
    if key == 0 {
        let Some(made) = libc::new_key(at_thread_end) else { return };
        let made = u64::from(made).wrapping_add(1);
        // A second thread that has made one meanwhile has the first's used, and its own is left unused.
        key = KEY
            .compare_exchange(0, made, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|other| other, |_| made);
    }
    table.is_known.set(set_value(key, table));
}

fn set_value(key: u64, table: &BlockTable) -> bool {
    let key = u32::try_from(key.wrapping_sub(1)).unwrap_or(u32::MAX);
    libc::set_specific(key, start_of(table.memory))
}

/// Tables of threads that are ending, or have ended. Other destructors may use blocks to the last, so they are given back once the
/// thread is gone.
static ENDED: AtomicPtr<BlockTable> = AtomicPtr::new(ptr::null_mut());

/// Most threads that are looked at when one ends.
const LOOKED_AT: usize = 8;

fn push(table: &'static BlockTable) {
    let mut first = ENDED.load(Ordering::Relaxed);
    loop {
        // SAFETY: null, or a table that was pushed, and that whoever takes it out of the list gives back.
        table.older.set(unsafe { first.as_ref() });
        let new = ptr::from_ref(table).cast_mut();
        match ENDED.compare_exchange_weak(first, new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Gives tables of threads back that are gone.
fn sweep() {
    // SAFETY: as for `push`; the whole list is this thread's now.
    let mut next = unsafe { ENDED.swap(ptr::null_mut(), Ordering::AcqRel).as_ref() };
    let mut looked_at = 0usize;
    while let Some(table) = next {
        next = table.older.get();
        looked_at = looked_at.wrapping_add(1);
        if looked_at <= LOOKED_AT && is_gone(table.ending.get()) {
            table.entries().iter().for_each(dismiss);
            // SAFETY: the thread is gone, and its blocks with it.
            unsafe { sys::give_back(table.memory) };
        } else {
            push(table);
        }
    }
}

/// The destructor of the key's values.
extern "C" fn at_thread_end(_: usize) {
    let _blocked = Blocked::new();
    // The table may have been replaced by a larger one since its address was given to libc.
    let mut next = table().filter(|last| last.ending.get() == 0);
    while let Some(table) = next {
        next = table.older.take();
        table.ending.set(thread_id());
        push(table);
    }
    sweep();
}
