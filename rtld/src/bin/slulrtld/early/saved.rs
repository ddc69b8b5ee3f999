//! The auxiliary vector that the kernel keeps (PR_GET_AUXV, since Linux 6.4), and by it the block: for whoever knows neither
//! the stack pointer of the start nor any memory of the loader's that could have been written.
//!
//! # Safety
//! This file exists because the stack is read below an address that the kernel tells.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use linux_raw_sys::auxvec::AT_RANDOM;
use linux_raw_sys::general::__NR_prctl;
use linux_raw_sys::prctl::PR_GET_AUXV;

use crate::cpu::ops::{call, load};

/// Words that the kernel's copy may have: more than twice what there are keys.
const MOST: usize = 128;

const WORD: usize = size_of::<usize>();

/// The kernel puts the block below AT_RANDOM's bytes, with padding to a multiple of 16.
const MOST_PADDING: usize = 8;

/// Words of the stack that are no addresses: counts of arguments.
const LEAST_ADDRESS: usize = 4096;

/// Address of the block that the process was started with; 0 if the kernel does not keep what is needed for that, or if the
/// stack does not look as it left it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn slul_saved_block() -> usize {
    let mut buffer = [const { MaybeUninit::<usize>::uninit() }; MOST];
    let saved = (&raw mut buffer) as usize;
    // SAFETY: the buffer.
    let size = unsafe { call(__NR_prctl, [PR_GET_AUXV as usize, saved, MOST * WORD, 0, 0, 0]) };
    if size > MOST * WORD {
        return 0;
    }
    // SAFETY: callers stay within what the kernel has written, or, for the stack, next to it.
    let word = |base: usize, index: usize| unsafe { load::<usize>(base.wrapping_add(index.wrapping_mul(WORD))) };
    let (mut count, mut random) = (0usize, 0usize);
    loop {
        if count.wrapping_add(2).wrapping_mul(WORD) > size {
            return 0;
        }
        let key = word(saved, count);
        if key == AT_RANDOM as usize {
            random = word(saved, count.wrapping_add(1));
        }
        count = count.wrapping_add(2);
        if key == 0 {
            break;
        }
    }
    if random == 0 {
        return 0;
    }
    let mut auxv = (random & !(WORD - 1)).wrapping_sub(count.wrapping_mul(WORD));
    let mut padding = 0usize;
    loop {
        let mut index = 0usize;
        while index < count && word(auxv, index) == word(saved, index) {
            index = index.wrapping_add(1);
        }
        if index == count {
            break;
        }
        padding = padding.wrapping_add(1);
        if padding > MOST_PADDING {
            return 0;
        }
        auxv = auxv.wrapping_sub(WORD);
    }
    // Down over envp's NULL, envp, argv's NULL, argv, to the word that says how many arguments that were.
    let mut place = auxv.wrapping_sub(WORD);
    if word(place, 0) != 0 {
        return 0;
    }
    loop {
        place = place.wrapping_sub(WORD);
        let value = word(place, 0);
        if value == 0 {
            break;
        }
        if value < LEAST_ADDRESS {
            return 0;
        }
    }
    let mut arguments = 0usize;
    loop {
        place = place.wrapping_sub(WORD);
        let value = word(place, 0);
        if value == arguments {
            return place;
        }
        if value < LEAST_ADDRESS {
            return 0;
        }
        arguments = arguments.wrapping_add(1);
    }
}
