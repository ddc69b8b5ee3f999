//! The memory of objects.
//!
//! # Safety
//! This file exists because mapping memory is unsafe. Every mapping at a fixed address lies inside a reservation that
//! this file made, so a mapping of other code is never replaced.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{MapFlags, ProtFlags};
use rustix::mm::{mmap, mmap_anonymous};

use crate::base::addr::{PageRange, from_usize, to_usize};
use crate::elf::plan::{LoadPlan, Protection, Segment};
use crate::error::Errno;
use crate::os::mapped::MappedImage;
use crate::os::seam::{AddressSpace, Image};
use crate::os::sys::files::{File, Linux};
use crate::os::sys::memory::{prot_flags, protect, unmap};

/// Number of pages up to which a writable segment is small. Most libraries have no larger one.
const FEW: u64 = 2;

/// Whether each PT_LOAD has a mapping of its own, also where the reservation has the same pages of the file in place.
static ONE_FOR_EACH: AtomicBool = AtomicBool::new(false);

/// Gives each PT_LOAD that is mapped from now on a mapping of its own, as libc's ld.so does: tools that watch mmap(2), such as
/// valgrind, read an object's symbols only then.
pub fn map_each_segment() {
    ONE_FOR_EACH.store(true, Ordering::Relaxed);
}

/// EINVAL, for a range outside the reservation, which would be a bug of the loader.
const OUTSIDE: Errno = Errno(22);

fn place(image: &MappedImage, range: PageRange) -> Result<*mut core::ffi::c_void, Errno> {
    image.span_pointer(range.start, range.len()).map(|start| start.as_ptr().cast()).ok_or(OUTSIDE)
}

impl AddressSpace for Linux {
    type Image = MappedImage;

    fn reserve(&self, plan: &LoadPlan<'static>, file: &File) -> Result<MappedImage, Errno> {
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
            let is_first = segment.pages().start == image.plan().span.start;
            let again = ONE_FOR_EACH.load(Ordering::Relaxed) && !is_first;
            if again || !image.plan().is_in_base(segment) {
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
