//! The memory functions that the compiler takes for granted. Programs may import them as well.
//!
//! # Safety
//! This file exists because these functions are defined by their effect on raw memory. Each rests on its
//! caller's promise in the C standard. None may call another through a slice method: the compiler would
//! turn that into a call of itself.
#![allow(unsafe_code)]

use core::arch::asm;

/// Copies `size` bytes that do not overlap.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: by the caller; the direction flag is clear at every call (psABI).
    unsafe {
        asm!("rep movsb", inout("rcx") size => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Copies `size` bytes that may overlap.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= size {
        // SAFETY: a copy upwards reads every byte before it overwrites it.
        return unsafe { memcpy(to, from, size) };
    }
    // SAFETY: the last byte of either; size is not 0 here. The direction flag is put back.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") size => _,
            inout("rdi") to.wrapping_add(size).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(size).wrapping_sub(1) => _, options(nostack));
    }
    to
}

/// Fills `size` bytes.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, byte: i32, size: usize) -> *mut u8 {
    let [byte, ..] = byte.to_le_bytes();
    // SAFETY: by the caller.
    unsafe {
        asm!("rep stosb", inout("rcx") size => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
    to
}

/// Compares `size` bytes as unsigned numbers.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
    let mut index = 0;
    while index < size {
        // SAFETY: by the caller, `size` bytes can be read.
        let a = unsafe { left.wrapping_add(index).read() };
        // SAFETY: as above.
        let b = unsafe { right.wrapping_add(index).read() };
        if a != b {
            return i32::from(a).wrapping_sub(i32::from(b));
        }
        index = index.wrapping_add(1);
    }
    0
}

/// Whether `size` bytes differ: 0 if not.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(left, right, size) }
}

/// Number of bytes before the NUL.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut size = 0;
    // SAFETY: by the caller there is a NUL, and no byte before it ends the string.
    while unsafe { string.wrapping_add(size).read_volatile() } != 0 {
        size = size.wrapping_add(1);
    }
    size
}
