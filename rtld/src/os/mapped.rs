//! The memory of an object that is mapped in this process.
//!
//! # Safety
//! This file exists because an object's memory is reached through a raw pointer. It rests on the plan: a segment that
//! the plan calls readable or writable is mapped so for as long as the image lives, which the caller of
//! [`MappedImage::adopt`] promises. RELRO is the exception: once sealed it is read-only, and code that writes there
//! through an image unseals it first.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::slice;

use crate::base::addr::{LoadBias, RuntimeAddr, Vaddr, from_usize, to_usize};
use crate::elf::plan::{LoadPlan, Segment};
use crate::machine::Native;
use crate::os::seam::{Image, ImageMut};

/// A mapped object. Dropping it unmaps the memory, if the image owns it.
#[derive(Debug)]
pub struct MappedImage {
    start: NonNull<u8>,
    plan: LoadPlan<'static>,
    owned: bool,
}

impl MappedImage {
    /// An image at `start`, the address of the first page of the plan's span.
    ///
    /// # Safety
    /// The plan's segments are mapped there as the plan says, or will be before anything is read or written; nothing
    /// else writes to them while a borrow from the image lasts. If `owned`, nothing else unmaps the span.
    #[must_use]
    pub unsafe fn adopt(start: NonNull<u8>, plan: LoadPlan<'static>, owned: bool) -> Self {
        Self { start, plan, owned }
    }

    /// Unmaps the memory, if the image owns it. The image is empty from then on.
    pub(crate) fn unmap(&mut self) {
        let size = self.plan.span.len();
        self.plan = LoadPlan::EMPTY;
        if core::mem::replace(&mut self.owned, false) {
            // SAFETY: the span is the image's own, by `adopt`; `self` is borrowed mutably, so borrows of it have ended.
            unsafe { crate::os::sys::memory::unmap(self.start, size) };
        }
    }

    /// Forgets all of the plan that is of concern to a loader besides mapping: the object does the rest itself.
    pub const fn map_only(&mut self) {
        self.plan.map_only();
    }

    /// A pointer to `vaddr`, if a segment contains `len` bytes from there and its protection allows the access.
    fn pointer(&self, vaddr: Vaddr, len: u64, write: bool) -> Option<NonNull<u8>> {
        let mut segments = self.plan.segments().iter();
        let holds = |segment: &&Segment| segment.contains(vaddr, len);
        // The writable segments mostly come last.
        let segment = if write { segments.rfind(holds) } else { segments.find(holds) }?;
        let permitted = if write { segment.protection.write } else { segment.protection.read };
        let distance = vaddr.0.checked_sub(self.plan.span.start.0).filter(|_| permitted)?;
        // SAFETY: the segment is inside the span, which is one mapping from `start` on.
        Some(unsafe { self.start.add(to_usize(distance)) })
    }

    /// A pointer to `len` bytes at `vaddr` within the plan's span, for a change of the mapping there.
    #[must_use]
    pub fn span_pointer(&self, vaddr: Vaddr, len: u64) -> Option<NonNull<u8>> {
        let distance = vaddr.0.checked_sub(self.plan.span.start.0)?;
        if distance.checked_add(len)? > self.plan.span.len() {
            return None;
        }
        // SAFETY: inside the span, as just checked.
        Some(unsafe { self.start.add(to_usize(distance)) })
    }
}

impl Image for MappedImage {
    type Machine = Native;

    fn plan(&self) -> &LoadPlan<'_> {
        &self.plan
    }

    fn bias(&self) -> LoadBias {
        LoadBias::new(RuntimeAddr::of(self.start.as_ptr()), self.plan.span.start)
    }

    #[inline(always)]
    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        let pointer = self.pointer(vaddr, len, false)?;
        // SAFETY: a readable segment holds `len` bytes from there, by `adopt`.
        Some(unsafe { slice::from_raw_parts(pointer.as_ptr(), to_usize(len)) })
    }
}

impl ImageMut for MappedImage {
    #[inline]
    fn write(&mut self, vaddr: Vaddr, bytes: &[u8]) -> Option<()> {
        let pointer = self.pointer(vaddr, from_usize(bytes.len()), true)?;
        // SAFETY: a writable segment holds so many bytes there, by `adopt`; a borrow of `self` is not among them.
        unsafe { pointer.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Some(())
    }
}

impl Drop for MappedImage {
    #[inline(never)]
    fn drop(&mut self) {
        self.unmap();
    }
}
