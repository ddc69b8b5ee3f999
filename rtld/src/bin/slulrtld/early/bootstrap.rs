//! Self-relocation: makes the loader's own data writable, and the addresses in it right. Nothing else is in this file.
//!
//! Here you have: the addresses of the loader's ELF header and of its data. Not yet: any of the addresses
//! that this function writes, so nothing that needs one: no static, no call out of this crate, no panic, no
//! memcpy (rustc reaches all of those through the GOT). `cargo xtask audit` reads the machine code for it.
//!
//! # Safety
//! This file exists because the loader's own tables are read and written by address. They are what the linker
//! made of this very program, and nothing has run that could have changed them.
#![allow(unsafe_code)]

use crate::cpu::{call, load, store, touch};

const DT_RELA: usize = 7;
const DT_RELASZ: usize = 8;
const DT_RELRSZ: usize = 35;
const DT_RELR: usize = 36;
const R_X86_64_RELATIVE: u32 = 8;

const SYS_WRITE: usize = 1;
const SYS_MPROTECT: usize = 10;
const SYS_EXIT_GROUP: usize = 231;
const READ_WRITE: usize = 3;
const STDERR: usize = 2;

/// Makes what is from the dynamic section on writable, and applies DT_RELR and DT_RELA of the loader, which is linked at
/// address 0.
///
/// # Safety
/// `bias` is the address of the loader's ELF header; `dynamic` of its dynamic section, with which the pages begin that it
/// writes to; `end` of their end. Called once, before anything else.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_relocate_self(bias: usize, dynamic: usize, end: usize) {
    // SAFETY: the loader's own pages, with nothing to execute in them.
    let result = unsafe { call(SYS_MPROTECT, [dynamic, end.wrapping_sub(dynamic), READ_WRITE, 0, 0, 0]) };
    if result != 0 {
        let text = b"slulrtld: mprotect failed for its own data\n";
        // SAFETY: a string.
        unsafe { call(SYS_WRITE, [STDERR, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
        loop {
            // SAFETY: ends the process.
            unsafe { call(SYS_EXIT_GROUP, [crate::run::last_words::REFUSED as usize, 0, 0, 0, 0, 0]) };
        }
    }
    // SAFETY: nobody else knows of it yet.
    unsafe { touch(dynamic) };
    let (mut rela, mut rela_size, mut relr, mut relr_size) = (0usize, 0usize, 0usize, 0usize);
    let mut at = dynamic;
    loop {
        // SAFETY: the dynamic section ends with DT_NULL.
        let tag = unsafe { load::<usize>(at) };
        // SAFETY: as above; entries are pairs.
        let value = unsafe { load::<usize>(at.wrapping_add(8)) };
        at = at.wrapping_add(16);
        if tag == 0 {
            break;
        } else if tag == DT_RELA {
            rela = bias.wrapping_add(value);
        } else if tag == DT_RELASZ {
            rela_size = value;
        } else if tag == DT_RELR {
            relr = bias.wrapping_add(value);
        } else if tag == DT_RELRSZ {
            relr_size = value;
        }
    }
    // SAFETY: the tables are the linker's.
    unsafe { apply_relr(bias, relr, relr_size) };
    let end = rela.wrapping_add(rela_size);
    while rela != end {
        // SAFETY: within DT_RELA; so for the next two.
        let offset = unsafe { load::<usize>(rela) };
        // SAFETY: as above.
        let kind = unsafe { load::<u32>(rela.wrapping_add(8)) };
        // SAFETY: as above.
        let addend = unsafe { load::<usize>(rela.wrapping_add(16)) };
        // The audit allows no other type in the loader.
        if kind == R_X86_64_RELATIVE {
            // SAFETY: the linker asks for this word to be written.
            unsafe { store(bias.wrapping_add(offset), bias.wrapping_add(addend)) };
        }
        rela = rela.wrapping_add(24);
    }
}

/// DT_RELR (gABI): an even entry is an address to relocate, an odd one a bitmap of the 63 words after it.
#[inline(always)]
unsafe fn apply_relr(bias: usize, relr: usize, size: usize) {
    let mut entry = relr;
    let end = relr.wrapping_add(size);
    let mut next = 0usize;
    while entry != end {
        // SAFETY: within DT_RELR.
        let mut word = unsafe { load::<usize>(entry) };
        entry = entry.wrapping_add(8);
        if word & 1 == 0 {
            next = bias.wrapping_add(word);
            // SAFETY: the linker asks for this word to be relocated.
            let value = unsafe { load::<usize>(next) };
            // SAFETY: as above.
            unsafe { store(next, value.wrapping_add(bias)) };
            next = next.wrapping_add(8);
            continue;
        }
        let mut place = next;
        word = word.wrapping_shr(1);
        while word != 0 {
            if word & 1 != 0 {
                // SAFETY: the linker asks for this word to be relocated.
                let value = unsafe { load::<usize>(place) };
                // SAFETY: as above.
                unsafe { store(place, value.wrapping_add(bias)) };
            }
            place = place.wrapping_add(8);
            word = word.wrapping_shr(1);
        }
        next = next.wrapping_add(63 * 8);
    }
}
