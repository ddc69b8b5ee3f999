//! The kernel's block, before the loader is relocated: argc, argv, envp, auxv.
//!
//! # Safety
//! This file exists because the block is read and written by address. The kernel says where it begins, and how it ends:
//! argv and envp by NULL, auxv by AT_NULL.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use linux_raw_sys::auxvec::{AT_ENTRY, AT_PHDR, AT_SECURE};

use crate::cpu::ops::{load, store};
use crate::early::text::EarlyString;

/// Values of the auxiliary vector, by key, up to the largest that the plain start asks for. Written and read by `store`
/// and `load` alone, so that no branch on the key becomes a jump table.
#[repr(transparent)]
pub(crate) struct Values([MaybeUninit<usize>; AT_SECURE as usize + 1]);

impl Values {
    /// Nothing is known.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; AT_SECURE as usize + 1])
    }

    /// The word for a key, which is at most AT_SECURE.
    #[inline(always)]
    fn place(&self, key: usize) -> usize {
        ((&raw const self.0) as usize).wrapping_add(key.wrapping_mul(size_of::<usize>()))
    }

    /// Values of a block that has none of the entries that [`Values::get`] answers.
    #[inline(always)]
    fn clear(&mut self) {
        let mut key = AT_PHDR as usize;
        while key <= AT_ENTRY as usize {
            // SAFETY: a word of ours.
            unsafe { store(self.place(key), 0) };
            key = key.wrapping_add(1);
        }
        // SAFETY: as above.
        unsafe { store(self.place(AT_SECURE as usize), 1) };
    }

    /// Takes the value at `place` for `key`.
    #[inline(always)]
    fn set(&mut self, key: usize, place: BlockWord) {
        if key <= AT_SECURE as usize {
            // SAFETY: a word of ours.
            unsafe { store(self.place(key), place.word()) };
        }
    }

    /// The value of AT_PHDR to AT_ENTRY, 0 if it is not passed; or of AT_SECURE, then 1. Of others, whatever it is.
    #[inline(always)]
    pub(crate) fn get(&self, key: u32) -> usize {
        let key = if key < AT_SECURE { key } else { AT_SECURE };
        // SAFETY: a word of ours.
        unsafe { load(self.place(key as usize)) }
    }
}

/// A word of the kernel's block.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct BlockWord(usize);

impl BlockWord {
    #[inline(always)]
    fn word(self) -> usize {
        // SAFETY: who makes one goes from one word of the block to the next, and to none beyond AT_NULL's.
        unsafe { load(self.0) }
    }

    #[inline(always)]
    fn set(self, value: usize) {
        // SAFETY: as for reading; the block is ours to change.
        unsafe { store(self.0, value) };
    }

    /// The word that is so many words further on.
    #[inline(always)]
    const fn after(self, words: usize) -> Self {
        Self(self.0.wrapping_add(words.wrapping_mul(size_of::<usize>())))
    }

    /// The word before it.
    #[inline(always)]
    const fn before(self) -> Self {
        Self(self.0.wrapping_sub(size_of::<usize>()))
    }
}

/// The kernel's block: argc, argv, envp, auxv.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct RawBlock(BlockWord);

impl RawBlock {
    /// The block at the stack pointer.
    ///
    /// # Safety
    /// That is how the kernel left it, and what changes the block is what is done through the answer.
    #[inline(always)]
    pub(crate) const unsafe fn at(sp: usize) -> Self {
        Self(BlockWord(sp))
    }

    /// Number of arguments.
    #[inline(always)]
    pub(crate) fn argc(self) -> usize {
        self.0.word()
    }

    #[inline(always)]
    fn argument(self, index: usize) -> Option<EarlyString> {
        let word = self.0.after(index).after(1);
        // SAFETY: a string of the block.
        if index < self.argc() { Some(unsafe { EarlyString::new(word.word()) }) } else { None }
    }

    /// The first argument, if there is one.
    #[inline(always)]
    pub(crate) fn first_argument(self) -> Option<EarlyString> {
        self.argument(0)
    }

    /// The second argument, if there is one.
    #[inline(always)]
    pub(crate) fn second_argument(self) -> Option<EarlyString> {
        self.argument(1)
    }

    /// Walks it to its end: tells `values` of the auxiliary vector, and answers where that is; `None` if some variable may
    /// be one that the loader acts on.
    #[inline(always)]
    pub(crate) fn walk(self, values: &mut Values) -> Option<Auxv> {
        let start = slul_early_walk(self, values);
        if start.0 == 0 { None } else { Some(Auxv { block: self, start }) }
    }
}

/// [`RawBlock::walk`]; answers 0 instead of `None`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_early_walk(block: RawBlock, values: &mut Values) -> BlockWord {
    // Behind argv and its NULL.
    let mut place = block.0.after(block.argc()).after(2);
    loop {
        let variable = place.word();
        place = place.after(1);
        if variable == 0 {
            break;
        }
        // SAFETY: a string of the environment.
        if unsafe { EarlyString::new(variable) }.is_ours() {
            return BlockWord(0);
        }
    }
    let start = place;
    values.clear();
    loop {
        let key = place.word();
        if key == 0 {
            return start;
        }
        values.set(key, place.after(1));
        place = place.after(2);
    }
}

impl RawBlock {
    /// Where it is.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.0.0
    }

    /// The variable that libc reads when it starts (`libc_template::is_start_variable`), if it is LD_LIBRARY_PATH and depends on
    /// nothing that may change. `None` if there are others.
    #[inline(always)]
    pub(crate) fn variable_of_start(self) -> Option<StartVariable> {
        let mut found = StartVariable { number: 0, address: 0, size: 0 };
        let (mut place, mut number) = (self.0.after(self.argc()).after(2), 0usize);
        loop {
            let variable = place.word();
            place = place.after(1);
            number = number.wrapping_add(1);
            if variable == 0 {
                return Some(found);
            }
            // SAFETY: a string of the environment, or one of ours.
            let string = |address: usize| unsafe { EarlyString::new(address) };
            let variable = string(variable);
            if !variable.begins_with_any(START_BYTES) {
                continue;
            }
            let known = |name: usize| variable.after(string(name));
            if let Some(list) = known((&raw const LIBRARY_PATH) as usize) {
                if found.number != 0 || !list.searches_absolutely(true) {
                    return None;
                }
                found = StartVariable { number, address: variable.address(), size: variable.size() };
            } else {
                let mut name = (&raw const START_VARIABLES) as usize;
                let end = name.wrapping_add(size_of_val(&START_VARIABLES));
                while name != end {
                    if known(name).is_some() {
                        return None;
                    }
                    name = name.wrapping_add(LONGEST);
                }
            }
        }
    }
}

/// A variable of the environment.
pub(crate) struct StartVariable {
    /// Its place in envp, from 1 on; 0 if there is none.
    pub(crate) number: usize,
    /// Address of the string.
    pub(crate) address: usize,
    /// Size in bytes, with the NUL.
    pub(crate) size: usize,
}

static LIBRARY_PATH: [u8; 17] = *b"LD_LIBRARY_PATH=\0";

const LONGEST: usize = 16;

/// The first bytes of those that follow.
const START_BYTES: [u8; 3] = *b"LMG";

/// Beginnings of variables that libc reads when it starts, each with its NULs.
static START_VARIABLES: [[u8; LONGEST]; 3] =
    [*b"LD_\0\0\0\0\0\0\0\0\0\0\0\0\0", *b"MALLOC_\0\0\0\0\0\0\0\0\0", *b"GLIBC_TUNABLES=\0"];

// The same as for the full start, which takes them from there: references can not be used before relocation.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler alone")]
const _: () = {
    let known = libc_template::START_VARIABLES;
    assert!(known.len() == START_VARIABLES.len() && known.len() == START_BYTES.len());
    let mut at = 0;
    while at < known.len() {
        assert!(START_BYTES[at] == known[at][0] && known[at].len() < LONGEST);
        let mut byte = 0;
        while byte < LONGEST {
            let wanted = if byte < known[at].len() { known[at][byte] } else { 0 };
            assert!(START_VARIABLES[at][byte] == wanted);
            byte += 1;
        }
        at += 1;
    }
};

/// The auxiliary vector of a block.
#[derive(Clone, Copy)]
pub(crate) struct Auxv {
    block: RawBlock,
    start: BlockWord,
}

impl Auxv {
    /// Where it is.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.start.0
    }

    /// The value of an entry; 0 if it is not there.
    #[inline(always)]
    pub(crate) fn find(self, wanted: u32) -> usize {
        let mut place = self.start;
        loop {
            let key = place.word();
            if key == 0 {
                return 0;
            }
            if key == wanted as usize {
                return place.after(1).word();
            }
            place = place.after(2);
        }
    }

    /// The string that an entry is about.
    #[inline(always)]
    pub(crate) fn text(self, wanted: u32) -> Option<EarlyString> {
        let address = self.find(wanted);
        // SAFETY: the kernel's strings are there.
        if address == 0 { None } else { Some(unsafe { EarlyString::new(address) }) }
    }

    /// Address of the end of AT_NULL, and so of the block.
    #[inline(always)]
    pub(crate) fn end(self) -> usize {
        let mut place = self.start;
        while place.word() != 0 {
            place = place.after(2);
        }
        place.after(2).0
    }

    /// Takes the first argument out of the block, and has `change` say what each value of the auxiliary vector becomes.
    /// Answers where that is then.
    #[inline(always)]
    pub(crate) fn drop_argument(self, change: impl Fn(usize, usize) -> usize) -> usize {
        let argc = self.block.0;
        argc.set(argc.word().wrapping_sub(1));
        let mut place = argc.after(1);
        // The words of argv and envp, with their NULLs.
        while place.0 != self.start.before().0 {
            place.set(place.after(1).word());
            place = place.after(1);
        }
        loop {
            let key = place.after(1).word();
            let value = change(key, place.after(2).word());
            place.set(key);
            place.after(1).set(value);
            place = place.after(2);
            if key == 0 {
                return self.start.before().0;
            }
        }
    }
}
