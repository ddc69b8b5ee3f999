//! Memory by address: fresh pages, and the protection of pages.
//!
//! # Safety
//! This file exists because mapping memory is unsafe. Fresh memory is where the kernel puts it, so it replaces nothing.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::mm::{madvise, mmap, mmap_anonymous, mprotect, munmap};

use crate::base::addr::{from_usize, to_usize};
use crate::base::arena::Source;
use crate::elf::plan::Protection;
use crate::error::Errno;
use crate::machine::{Machine, Native};
use crate::os::sys::files::File;

/// What memory is asked for in multiples of, in bytes: pages, whatever their size.
fn page() -> usize {
    to_usize(Native::LARGEST_PAGE.bytes())
}

/// Unmaps memory that this folder mapped.
///
/// # Safety
/// Nothing uses the `size` bytes at `start` any more.
pub(crate) unsafe fn unmap(start: NonNull<u8>, size: u64) {
    // SAFETY: by the caller. It can only fail for lack of memory to split a mapping; then the pages stay
    // reserved, which is harmless.
    let _ = unsafe { munmap(start.as_ptr().cast(), to_usize(size)) };
}

/// Fresh zeroed memory of at least `bytes` bytes, for an [`crate::base::arena::Arena`].
#[must_use]
pub fn anonymous(bytes: usize) -> Option<NonNull<[u8]>> {
    // Linux 6.7 aligns a mapping for huge pages if its size is a multiple of one.
    let size = bytes.checked_next_multiple_of(if bytes < HUGE { page() } else { 2 << 20 })?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), size, protection, MapFlags::PRIVATE) }.ok()?;
    if size >= HUGE {
        // Tables of this size are read all over. Without huge pages they are only slower.
        // SAFETY: the mapping just made; its contents stay as they are.
        let _ = unsafe { madvise(start, size, Advice::LinuxHugepage) };
    }
    Some(NonNull::slice_from_raw_parts(NonNull::new(start.cast())?, size))
}

/// Size in bytes from which asking for huge pages pays.
const HUGE: usize = 4 << 20;

/// The source of arenas whose memory can be given back: [`anonymous`] and [`give_back`].
// SAFETY: mappings of the kernel's choice, whole and zeroed, until they are unmapped.
pub const MEMORY: Source = unsafe { Source::new(anonymous, give_back) };

/// Fresh memory for a stack of `bytes` bytes, both multiples of a page. The lowest `guard` bytes are inaccessible.
#[must_use]
pub fn stack(bytes: usize, guard: usize, executable: bool) -> Option<NonNull<[u8]>> {
    let protection = prot_flags(Protection { execute: executable, ..Protection::READ_WRITE });
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }.ok()?;
    let start = NonNull::new(start.cast())?;
    let stack = NonNull::slice_from_raw_parts(start, bytes);
    // SAFETY: pages of the mapping just made.
    if unsafe { self::guard(start, guard) }.is_err() {
        // SAFETY: nobody knows of it.
        unsafe { give_back(stack) };
        return None;
    }
    Some(stack)
}

/// Fresh zeroed memory of at least `bytes` bytes, at or near `address` if the kernel finds room there.
#[must_use]
pub fn anonymous_near(address: crate::base::addr::RuntimeAddr, bytes: usize) -> Option<NonNull<[u8]>> {
    let size = bytes.checked_next_multiple_of(page())?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let hint = ptr::with_exposed_provenance_mut(to_usize(address.0));
    // SAFETY: a hint replaces nothing.
    let start = unsafe { mmap_anonymous(hint, size, protection, MapFlags::PRIVATE) }.ok()?;
    Some(NonNull::slice_from_raw_parts(NonNull::new(start.cast())?, size))
}

/// Address of a page for which lists of mappings show `name`. The page is inaccessible.
#[must_use]
pub fn named_page(name: &CStr) -> Option<NonNull<u8>> {
    let file = File::new(memfd_create(name, MemfdFlags::CLOEXEC).ok()?);
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let start = unsafe { mmap(ptr::null_mut(), page(), ProtFlags::empty(), MapFlags::PRIVATE, &file, 0) }.ok()?;
    NonNull::new(start.cast())
}

/// Unmaps memory that [`anonymous`] returned.
///
/// # Safety
/// Nothing uses it any more.
pub unsafe fn give_back(memory: NonNull<[u8]>) {
    // SAFETY: by the caller.
    unsafe { unmap(memory.cast(), from_usize(memory.len())) };
}

pub(super) fn prot_flags(protection: Protection) -> ProtFlags {
    let mut flags = ProtFlags::empty();
    flags.set(ProtFlags::READ, protection.read);
    flags.set(ProtFlags::WRITE, protection.write);
    flags.set(ProtFlags::EXEC, protection.execute);
    flags
}

/// Changes the protection of whole pages.
///
/// # Errors
/// The error number of mprotect(2).
///
/// # Safety
/// The pages belong to the caller, and nothing uses them in a way that the new protection forbids.
pub unsafe fn protect(pages: NonNull<[u8]>, protection: Protection) -> Result<(), Errno> {
    let mut flags = MprotectFlags::empty();
    flags.set(MprotectFlags::READ, protection.read);
    flags.set(MprotectFlags::WRITE, protection.write);
    flags.set(MprotectFlags::EXEC, protection.execute);
    // SAFETY: by the caller.
    Ok(unsafe { mprotect(pages.as_ptr().cast(), pages.len(), flags) }?)
}

/// Makes the stack executable that contains an address, from there down.
///
/// # Errors
/// The error number of mprotect(2).
///
/// # Safety
/// The kernel made that stack.
pub unsafe fn make_stack_executable(address: crate::base::addr::RuntimeAddr) -> Result<(), Errno> {
    let start = to_usize(address.0) & !page().wrapping_sub(1);
    let start = ptr::with_exposed_provenance_mut(start);
    let flags = MprotectFlags::READ | MprotectFlags::WRITE | MprotectFlags::EXEC | MprotectFlags::GROWSDOWN;
    // SAFETY: by the caller.
    Ok(unsafe { mprotect(start, page(), flags) }?)
}

/// Makes `size` bytes at `start` inaccessible.
///
/// # Errors
/// The error number of mprotect(2).
///
/// # Safety
/// The pages belong to the caller, and nothing is to touch them.
unsafe fn guard(start: NonNull<u8>, size: usize) -> Result<(), Errno> {
    // SAFETY: by the caller.
    unsafe { protect(NonNull::slice_from_raw_parts(start, size), Protection::NONE) }
}
