//! Self-relocation: makes the loader's own data writable, and relocates the addresses in it. Nothing else is in this file.
//!
//! Available here: the addresses of the loader's ELF header and of its data. Not available: the addresses that this
//! function writes, so nothing that needs one: no static, no call out of this crate, no panic, no memcpy (rustc reaches
//! all of those through the GOT). `cargo xtask audit` checks the machine code for it.
//!
//! # Safety
//! This file exists because the loader's own tables are read and written by address. They are what the linker
//! made of this very program, and nothing has run that could have changed them.
#![allow(unsafe_code)]

use linux_raw_sys::general::{__NR_exit_group, __NR_mprotect, __NR_write, PROT_READ, PROT_WRITE};
use rtld::elf::{Dyn, Rela, consts};

use crate::cpu::ops::{RELATIVE, call, debugger_rendezvous, load, store, touch};
use crate::early::raw::{Bytes, RelrWords};

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
    let (size, protection) = (end.wrapping_sub(dynamic), (PROT_READ | PROT_WRITE) as usize);
    // SAFETY: the loader's own pages, with nothing to execute in them.
    let result = unsafe { call(__NR_mprotect, [dynamic, size, protection, 0, 0, 0]) };
    if result != 0 {
        let text = b"slulrtld: mprotect failed for its own data\n";
        loop {
            // SAFETY: a string; the end of the process.
            unsafe {
                call(__NR_write, [STDERR, text.as_ptr() as usize, text.len(), 0, 0, 0]);
                call(__NR_exit_group, [crate::run::last_words::REFUSED as usize, 0, 0, 0, 0, 0]);
            }
        }
    }
    // SAFETY: nobody else knows of it yet.
    unsafe { touch(dynamic) };
    let (mut rela, mut rela_size, mut relr, mut relr_size) = (0usize, 0usize, 0usize, 0usize);
    // SAFETY: the dynamic section ends with DT_NULL, before the end of these pages.
    let mut entries = unsafe { Bytes::new(dynamic, size) }.run::<Dyn>();
    while let Some(entry) = entries.next() {
        let (tag, value) = (entry.tag() as u64, entry.value());
        if tag == consts::DT_NULL {
            break;
        } else if tag == consts::DT_RELA {
            rela = bias.wrapping_add(value);
        } else if tag == consts::DT_RELASZ {
            rela_size = value;
        } else if tag == consts::DT_RELR {
            relr = bias.wrapping_add(value);
        } else if tag == consts::DT_RELRSZ {
            relr_size = value;
        } else if tag == consts::DT_DEBUG {
            // For a debugger that has executed the loader itself, and takes it for the program.
            // SAFETY: a word of the dynamic section.
            unsafe { store(entry.value_address(), debugger_rendezvous()) };
        }
    }
    // SAFETY: the tables are the linker's.
    let (relr, rela) = unsafe { (Bytes::new(relr, relr_size), Bytes::new(rela, rela_size)) };
    let mut words = RelrWords::of(relr);
    while let Some(vaddr) = words.next() {
        let place = bias.wrapping_add(vaddr);
        // SAFETY: the linker asks for this word to be relocated.
        unsafe { store(place, load::<usize>(place).wrapping_add(bias)) };
    }
    let mut rela = rela.run::<Rela>();
    while let Some(entry) = rela.next() {
        // The audit allows no other type in the loader.
        if entry.kind() == RELATIVE {
            // SAFETY: the linker asks for this word to be written.
            unsafe { store(bias.wrapping_add(entry.offset()), bias.wrapping_add(entry.addend())) };
        }
    }
}
