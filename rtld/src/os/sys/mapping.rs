//! Mappings: fresh memory, and the memory of objects.
//!
//! # Safety
//! This file exists because mapping memory is unsafe. Every mapping at a fixed address lies inside a reservation that
//! this file made, so a mapping of other code is never replaced.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::mm::{madvise, mmap, mmap_anonymous, mprotect, munmap};

use super::{File, Linux};
use crate::base::addr::{PageRange, from_usize, to_usize};
use crate::base::arena::Source;
use crate::elf::plan::{LoadPlan, Protection, Segment};
use crate::error::Errno;
use crate::machine::{Machine, Native};
use crate::os::mapped::MappedImage;
use crate::os::seam::{AddressSpace, Image};

/// What memory is asked for in multiples of, in bytes: pages, whatever their size.
fn page() -> usize {
    to_usize(Native::LARGEST_PAGE.bytes())
}

/// Unmaps memory that this file mapped.
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

fn prot_flags(protection: Protection) -> ProtFlags {
    let mut flags = ProtFlags::empty();
    flags.set(ProtFlags::READ, protection.read);
    flags.set(ProtFlags::WRITE, protection.write);
    flags.set(ProtFlags::EXEC, protection.execute);
    flags
}

/// Number of pages up to which a writable segment is small. Most libraries have no larger one.
const FEW: u64 = 2;

/// EINVAL, for a range outside the reservation, which would be a bug of the loader.
const OUTSIDE: Errno = Errno(22);

fn place(image: &MappedImage, range: PageRange) -> Result<*mut core::ffi::c_void, Errno> {
    image.span_pointer(range.start, range.len()).map(|start| start.as_ptr().cast()).ok_or(OUTSIDE)
}

impl AddressSpace for Linux {
    type Image = MappedImage;

    fn reserve(&self, plan: &LoadPlan, file: &File) -> Result<MappedImage, Errno> {
        let size = plan.span.len();
        if let Some(base) = plan.base() {
            // One mapping of the file is the reservation; the first segment, perhaps others, is in place already.
            let (protection, offset) = (prot_flags(base.protection), file.whole(base.offset));
            // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
            let start =
                unsafe { mmap(ptr::null_mut(), to_usize(size), protection, MapFlags::PRIVATE, file, offset) }?;
            let start = NonNull::new(start.cast::<u8>()).ok_or(OUTSIDE)?;
            // SAFETY: the span is this image's own; `map_segment` completes the segments before they are used.
            return Ok(unsafe { MappedImage::adopt(start, *plan, true) });
        }
        if plan.fixed {
            let place = ptr::with_exposed_provenance_mut(to_usize(plan.span.start.0));
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
            // SAFETY: replaces nothing: the kernel refuses if the range is taken or, before Linux 4.17, maps elsewhere.
            let start = unsafe { mmap_anonymous(place, to_usize(size), ProtFlags::empty(), flags) }?;
            let start = NonNull::new(start.cast::<u8>()).ok_or(OUTSIDE)?;
            // SAFETY: the span is this image's own; `map_segment` puts the segments in before they are used.
            let image = unsafe { MappedImage::adopt(start, *plan, true) };
            return if start.as_ptr() == place.cast() { Ok(image) } else { Err(Errno::EEXIST) };
        }
        // For more than a page of alignment, reserve enough to contain an aligned start, then trim.
        let slack = plan.align.saturating_sub(plan.page().bytes());
        let whole = to_usize(size.checked_add(slack).ok_or(Errno(12))?);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let first = unsafe { mmap_anonymous(ptr::null_mut(), whole, ProtFlags::empty(), flags) }?;
        let first = NonNull::new(first.cast::<u8>()).ok_or(OUTSIDE)?;
        let address = from_usize(first.addr().get());
        // The load bias must be a multiple of the alignment.
        let misfit = plan.span.start.0.wrapping_sub(address) & plan.align.saturating_sub(1);
        // SAFETY: `misfit` is at most `slack`, so this is inside the reservation.
        let start = unsafe { first.add(to_usize(misfit)) };
        if misfit != 0 {
            // SAFETY: the head of the reservation, before `start`, is unused.
            unsafe { unmap(first, misfit) };
        }
        let tail = slack.saturating_sub(misfit);
        if tail != 0 {
            // SAFETY: inside the reservation, after the span.
            let end = unsafe { start.add(to_usize(size)) };
            // SAFETY: the tail of the reservation is unused.
            unsafe { unmap(end, tail) };
        }
        // SAFETY: the span is this image's own; `map_segment` puts the segments in before they are used.
        Ok(unsafe { MappedImage::adopt(start, *plan, true) })
    }

    fn map_segment(&self, image: &mut MappedImage, file: &File, segment: &Segment) -> Result<(), Errno> {
        let protection = prot_flags(segment.protection);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        if !segment.file_pages().is_empty() {
            if !image.plan().is_in_base(segment) {
                let start = place(image, segment.file_pages())?;
                let size = to_usize(segment.file_pages().len());
                // Relocation will write to all of so few pages. Making them at once saves one or two page faults for
                // each.
                let few = segment.protection.write
                    && from_usize(size) <= image.plan().page().bytes().saturating_mul(FEW);
                let populate = if few { MapFlags::POPULATE } else { MapFlags::empty() };
                let offset = file.whole(segment.offset);
                // SAFETY: inside the image's own reservation.
                unsafe { mmap(start, size, protection, flags | populate, file, offset) }?;
            }
            let zeroes = segment.file_pages().end.0.saturating_sub(segment.data_end.0);
            if segment.mem_end > segment.data_end && zeroes != 0 {
                let rest = image.span_pointer(segment.data_end, zeroes).ok_or(OUTSIDE)?;
                // SAFETY: the rest of the segment's last page from the file, which the plan says is writable.
                unsafe { rest.write_bytes(0, to_usize(zeroes)) };
            }
        }
        let zero_pages = PageRange { start: segment.file_pages().end, end: segment.pages().end };
        if !zero_pages.is_empty() {
            let start = place(image, zero_pages)?;
            // SAFETY: inside the image's own reservation.
            unsafe { mmap_anonymous(start, to_usize(zero_pages.len()), protection, flags) }?;
        }
        Ok(())
    }

    fn unmap(&self, image: &mut MappedImage) {
        image.unmap();
    }

    fn protect(&self, image: &MappedImage, range: PageRange, protection: Protection) -> Result<(), Errno> {
        let start = NonNull::new(place(image, range)?.cast()).ok_or(OUTSIDE)?;
        // SAFETY: pages of the object itself; by the plan's RELRO contract they are not used in a way that the
        // new protection forbids.
        unsafe { protect(NonNull::slice_from_raw_parts(start, to_usize(range.len())), protection) }
    }
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

/// Makes `size` bytes at `start` inaccessible if `closed`, and readable and writable otherwise.
///
/// # Errors
/// The error number of mprotect(2).
///
/// # Safety
/// The pages belong to the caller, and nothing touches them while they are inaccessible.
pub unsafe fn guard(start: NonNull<u8>, size: usize, closed: bool) -> Result<(), Errno> {
    let protection = if closed { Protection::NONE } else { Protection::READ_WRITE };
    // SAFETY: by the caller.
    unsafe { protect(NonNull::slice_from_raw_parts(start, size), protection) }
}
