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

use crate::cpu::ops::{RELATIVE, call, debugger_rendezvous, load, own_places, store, touch};
use crate::early::raw::{Bytes, Records, RelrWords};

const STDERR: usize = 2;

/// The loader's own data, which can be written: from the dynamic section on.
pub(crate) struct OwnData {
    start: usize,
    size: usize,
}

impl OwnData {
    /// Makes the data writable; `None` if the kernel forbids it.
    #[inline(always)]
    pub(crate) fn unsealed() -> Option<Self> {
        let (_, start, _, end) = own_places();
        let (size, protection) = (end.wrapping_sub(start), (PROT_READ | PROT_WRITE) as usize);
        // SAFETY: the loader's own pages, with nothing to execute in them.
        let result = unsafe { call(__NR_mprotect, [start, size, protection, 0, 0, 0]) };
        if result == 0 { Some(Self { start, size }) } else { None }
    }

    /// The dynamic section, with which the data begins. It ends with DT_NULL.
    #[inline(always)]
    pub(crate) fn dynamic_section(&self) -> Records<Dyn> {
        // SAFETY: memory of the loader's.
        unsafe { Bytes::new(self.start, self.size) }.run()
    }

    /// Writes a word, if its address is in the data. Only for code that runs before all other code of the loader.
    #[inline(always)]
    pub(crate) fn put(&self, address: usize, value: usize) {
        if address.wrapping_sub(self.start) <= self.size.wrapping_sub(size_of::<usize>()) {
            // SAFETY: in these pages, which nothing refers to yet.
            unsafe { store(address, value) }
        }
    }
}

/// Makes what is from the dynamic section on writable, and applies DT_RELR and DT_RELA of the loader, which is linked at
/// address 0. Tells debuggers by DT_DEBUG where their list is: they look there if the loader itself was executed.
///
/// # Safety
/// `bias` is the address of the loader's ELF header. Called once, before anything else.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) unsafe extern "C" fn slul_relocate_self(bias: usize) {
    let data = loop {
        if let Some(data) = OwnData::unsealed() {
            break data;
        }
        let text = b"slulrtld: mprotect failed for its own data\n";
        // SAFETY: a string; the end of the process.
        unsafe {
            call(__NR_write, [STDERR, text.as_ptr() as usize, text.len(), 0, 0, 0]);
            call(__NR_exit_group, [crate::run::last_words::REFUSED as usize, 0, 0, 0, 0, 0]);
        }
    };
    // SAFETY: nobody else knows of it yet.
    unsafe { touch(data.start) };
    let (mut rela, mut rela_size, mut relr, mut relr_size) = (0usize, 0usize, 0usize, 0usize);
    let mut entries = data.dynamic_section();
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
            data.put(entry.value_address(), debugger_rendezvous());
        }
    }
    // SAFETY: the tables are the linker's.
    let (relr, rela) = unsafe { (Bytes::new(relr, relr_size), Bytes::new(rela, rela_size)) };
    let mut words = RelrWords::of(relr);
    while let Some(vaddr) = words.next() {
        let place = bias.wrapping_add(vaddr);
        // SAFETY: the linker asks for this word to be relocated.
        let value = unsafe { load::<usize>(place) };
        data.put(place, value.wrapping_add(bias));
    }
    let mut rela = rela.run::<Rela>();
    while let Some(entry) = rela.next() {
        // The audit allows no other type in the loader.
        if entry.kind() == RELATIVE {
            data.put(bias.wrapping_add(entry.offset()), bias.wrapping_add(entry.addend()));
        }
    }
}
