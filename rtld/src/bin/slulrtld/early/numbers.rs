//! What the symbols of a deferred start mean: native functions, by the numbers that the full start gives them, or memory
//! functions of the loader.
//!
//! # Safety
//! This file exists because numbers are kept in memory that is not initialised before it is needed.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use rtld::elf::consts;

use crate::cpu::ops::{load, store_short};
use crate::early::own;
use crate::early::program::Program;
use crate::early::tables::{MOST_SYMBOLS, Tables};

const UNSEEN: u16 = u16::MAX;
const OWN: u16 = u16::MAX - 1;

/// What a symbol means.
pub(crate) enum Meaning {
    /// The native function of that number.
    Native(u16),
    /// What the loader has at that distance from its ELF header.
    Own(usize),
}

/// The numbers, by symbol.
pub(crate) struct ImportNumbers {
    words: [MaybeUninit<u16>; MOST_SYMBOLS],
    /// How many of them mean something: the first so many.
    begun: usize,
    next: u16,
}

impl ImportNumbers {
    /// None.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { words: [const { MaybeUninit::uninit() }; MOST_SYMBOLS], begun: 0, next: 0 }
    }

    #[inline(always)]
    fn place(&self, symbol: usize) -> usize {
        ((&raw const self.words) as usize).wrapping_add((symbol & (MOST_SYMBOLS - 1)).wrapping_mul(2))
    }

    #[inline(always)]
    fn set(&mut self, symbol: usize, number: u16) {
        // SAFETY: one of `words`.
        unsafe { store_short(self.place(symbol), number) };
    }

    /// Has the word of a symbol mean something.
    #[inline(always)]
    fn reach(&mut self, symbol: usize) {
        while self.begun <= symbol {
            self.set(self.begun, UNSEEN);
            self.begun = self.begun.wrapping_add(1);
        }
    }

    #[inline(always)]
    fn get(&self, symbol: usize) -> u16 {
        // SAFETY: one of `words`.
        unsafe { load(self.place(symbol)) }
    }

    /// Whether the full start would put a first-call stub, or a function of the loader's, in a word that refers to that symbol,
    /// which is only `called`, or not only. It gets a number, if it has none.
    #[inline(always)]
    pub(crate) fn refer(&mut self, program: &Program, tables: &Tables, symbol: u32, called: bool) -> bool {
        let index = symbol as usize;
        if index >= MOST_SYMBOLS {
            return false;
        }
        let Some(found) = tables.symbol(program, index) else { return false };
        let (info, kind) = (found.info(), found.info() & 0xf);
        let function = kind == consts::STT_FUNC || kind == consts::STT_GNU_IFUNC;
        let typed = function || called && kind == consts::STT_NOTYPE;
        // Global, of default visibility, and defined elsewhere.
        let import = info >> 4 == consts::STB_GLOBAL && found.other() == 0 && found.section() == 0;
        if !typed || !import || found.value() != 0 {
            return false;
        }
        self.reach(index);
        if self.get(index) != UNSEEN {
            return true;
        }
        let Some(name) = tables.name(found.name_offset()) else { return false };
        if tables.version(program, index).is_none() {
            return false;
        }
        match own::find(name) {
            // The full start takes notice of such names, whether the loader has them or not.
            None if own::is_reserved(name) => return false,
            None => {}
            // What else programs import from the loader has consequences.
            Some(_) if !own::is_memory_function(name) => return false,
            // A version, which is a libc's, has no effect.
            Some(_) => {
                self.set(index, OWN);
                return true;
            }
        }
        self.set(index, self.next);
        self.next = self.next.wrapping_add(1);
        true
    }

    /// What a symbol means that was referred to.
    #[inline(always)]
    pub(crate) fn meaning(&self, program: &Program, tables: &Tables, symbol: u32) -> Meaning {
        let index = symbol as usize;
        let number = self.get(index);
        if number != OWN {
            return Meaning::Native(number);
        }
        let name = match tables.symbol(program, index) {
            Some(found) => tables.name(found.name_offset()),
            None => None,
        };
        let own = match name {
            Some(name) => own::find(name),
            None => None,
        };
        match own {
            Some(own) => Meaning::Own(own.value()),
            None => Meaning::Native(number),
        }
    }
}
