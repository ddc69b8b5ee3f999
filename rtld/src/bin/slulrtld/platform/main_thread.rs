//! The main thread's TCB and canary.
//!
//! # Safety
//! This file exists because a thread pointer is set, and AT_RANDOM is edited.
#![allow(unsafe_code)]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use rtld::base::addr::{from_usize, to_usize};
use rtld::base::arena::OutOfMemory;
use rtld::error::{Failure, Problem};
use rtld::machine::{Machine, Native, write_tcb};

use crate::cpu::ops::{changeable_thread_pointer, set_thread_pointer};
use crate::platform::thread_local::ThreadLocal;
use crate::run::kernel::random;
use crate::run::process::Process;
use crate::run::thread_pointer::THREAD_POINTER;

/// Makes the main thread's TCB, and sets the thread pointer to it.
pub(crate) fn set_up(process: &mut Process) -> Result<(), Failure<'static>> {
    let size = to_usize(process.sealed.tls.size());
    let align = to_usize(process.sealed.tls.align());
    let area = process.arena.bytes(size.saturating_add(Native::TCB_SIZE), align)?;
    // The thread pointer is the address of the TCB's first byte, and is aligned like the area: the block's size is a
    // multiple of that alignment, or else the block begins behind the TCB.
    let first = if Native::TLS.negative { size } else { Native::TCB_SIZE };
    let (low, high) = area.split_at_mut_checked(first).ok_or(OutOfMemory(size))?;
    let (block, tcb) = if Native::TLS.negative { (low, high) } else { (high, low) };
    process.sealed.fill_tls(block).map_err(|error| error.problem)?;
    let canary = canary(process)?;
    let tp = tcb.as_mut_ptr().expose_provenance();
    write_tcb::<Native>(tcb, from_usize(tp), canary);
    if size != 0 {
        process.thread_local = Some(ThreadLocal { block: NonNull::from(block).cast(), size, align });
    }
    THREAD_POINTER.store(tp, Ordering::Relaxed);
    // SAFETY: a TCB that lives as long as the process.
    if unsafe { set_thread_pointer(tp, process.block.auxiliary().hwcap2()) } {
        Ok(())
    } else {
        Err(Problem::ThreadPointer.into())
    }
}

/// The image from which libc makes the storage of later threads; null before it is there.
static IMAGE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// Its size in bytes.
static IMAGE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// Announces the image from which libc makes the storage of later threads.
pub(crate) fn later_threads_have(image: NonNull<[u8]>) {
    IMAGE_SIZE.store(image.len(), Ordering::Relaxed);
    IMAGE.store(image.as_ptr().cast(), Ordering::Release);
}

/// Gives later threads initial values at a distance from the thread pointer.
///
/// # Errors
/// [`Problem::TlsSize`] with the size in bytes, if they are not in the block.
pub(crate) fn write_image(process: &Process, distance: i64, bytes: &[u8]) -> Result<(), Failure<'static>> {
    let image = IMAGE.load(Ordering::Acquire);
    let offset = to_usize(process.sealed.tls.image_offset(distance));
    let end = offset.checked_add(bytes.len()).filter(|&end| end <= IMAGE_SIZE.load(Ordering::Relaxed));
    if image.is_null() || end.is_none() {
        return Err(Problem::TlsSize(from_usize(bytes.len())).into());
    }
    // SAFETY: within the image, which stays.
    unsafe { image.add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(())
}

/// Checks that the calling thread's thread pointer is what was set here, or none, and that libc will be able to set its own.
///
/// # Errors
/// [`Problem::ForeignThread`] in a thread whose thread pointer the program has set; [`Problem::ThreadPointer`] if the kernel
/// does not permit to set one.
pub(crate) fn is_as_left() -> Result<(), Problem<'static>> {
    let found = from_usize(changeable_thread_pointer().ok_or(Problem::ThreadPointer)?);
    let left = from_usize(THREAD_POINTER.load(Ordering::Relaxed));
    if found == left { Ok(()) } else { Err(Problem::ForeignThread { found, left }) }
}

/// The stack protector's canary. glibc and musl later make their own from AT_RANDOM, glibc with the first byte zeroed
/// and musl with the second. With both zero in AT_RANDOM already, all three are equal, and frames that are alive when
/// libc comes stay valid.
fn canary(process: &Process) -> Result<u64, Failure<'static>> {
    const MASK: u64 = !0xffff;
    let [first, second] = random(&process.block).ok_or(Problem::NoRandom)?;
    if let Some(random) = process.block.random().filter(|_| process.apart.is_some()) {
        // SAFETY: AT_RANDOM's sixteen bytes, which the kernel put on the stack; only the loader has read them.
        unsafe { random.as_ptr().write_unaligned([first & MASK, second]) };
    }
    Ok(first & MASK)
}
