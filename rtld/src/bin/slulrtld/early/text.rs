//! Strings, before the loader is relocated: of the block, of a program's string table, of the loader's own.
//!
//! # Safety
//! This file exists because strings are read by address. Whoever makes a [`EarlyString`] promises that it ends.
#![allow(unsafe_code)]

use crate::cpu::ops::load;

static ORIGIN: [u8; 8] = *b"$ORIGIN\0";

/// A string that ends with NUL.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct EarlyString(usize);

impl EarlyString {
    /// The string at an address.
    ///
    /// # Safety
    /// It can be read, to its NUL, for as long as the answer is used.
    #[inline(always)]
    pub(crate) const unsafe fn new(address: usize) -> Self {
        Self(address)
    }

    #[inline(always)]
    fn byte(self) -> u8 {
        // SAFETY: what there is of the string, or its NUL.
        unsafe { load(self.0) }
    }

    /// Its first byte, and what follows it; `None` at its end.
    #[inline(always)]
    pub(crate) fn split(self) -> Option<(u8, Self)> {
        let byte = self.byte();
        if byte == 0 { None } else { Some((byte, Self(self.0.wrapping_add(1)))) }
    }

    /// Where it is.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.0
    }

    /// What follows `start`, if it begins so.
    #[inline(always)]
    pub(crate) fn after(self, start: Self) -> Option<Self> {
        let rest = slul_early_after(self, start);
        if rest == 0 { None } else { Some(Self(rest)) }
    }

    /// Whether no entry of this list of directories depends on the current one: each begins with a slash, or with where the
    /// program is. (An empty entry of a list that is not empty as a whole is the current directory.)
    #[inline(always)]
    pub(crate) fn searches_absolutely(self, from_environment: bool) -> bool {
        slul_early_absolute(self, from_environment)
    }

    /// Whether its first byte is one of these.
    #[inline(always)]
    pub(crate) fn begins_with_any(self, [one, two, three]: [u8; 3]) -> bool {
        let first = self.byte();
        first == one || first == two || first == three
    }

    /// Its size in bytes, with its NUL.
    #[inline(always)]
    pub(crate) fn size(self) -> usize {
        let mut rest = self;
        while let Some((_, next)) = rest.split() {
            rest = next;
        }
        rest.0.wrapping_sub(self.0).wrapping_add(1)
    }

    /// Whether both are the same.
    #[inline(always)]
    pub(crate) fn equals(self, other: Self) -> bool {
        match self.after(other) {
            Some(rest) => rest.byte() == 0,
            None => false,
        }
    }

    /// Its part behind the last slash.
    #[inline(always)]
    pub(crate) fn file_name(self) -> Self {
        let (mut rest, mut name) = (self, self);
        while let Some((byte, next)) = rest.split() {
            rest = next;
            if byte == b'/' {
                name = next;
            }
        }
        name
    }

    /// Whether it may be a variable that the loader acts on even where there is nothing to load: it begins with `LD_S`
    /// (`LD_SLUL_*`, `LD_SHOW_AUXV`) or `LD_T` (`LD_TRACE_LOADED_OBJECTS`).
    #[inline(always)]
    pub(crate) fn is_ours(self) -> bool {
        let mut wanted = u32::from_le_bytes(*b"LD_\0");
        let mut rest = self;
        while wanted != 0 {
            // None of them is NUL, so there is more of the string where they are equal.
            if rest.byte() as u32 != wanted & 0xff {
                return false;
            }
            rest = Self(rest.0.wrapping_add(1));
            wanted = wanted.wrapping_shr(8);
        }
        rest.byte() == b'S' || rest.byte() == b'T'
    }
}

/// [`EarlyString::after`]; answers 0 instead of `None`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_early_after(text: EarlyString, start: EarlyString) -> usize {
    let (mut rest, mut start) = (text, start);
    while let Some((wanted, next)) = start.split() {
        if rest.byte() != wanted {
            return 0;
        }
        // No NUL, which `wanted` is not.
        rest = EarlyString(rest.0.wrapping_add(1));
        start = next;
    }
    rest.0
}

/// [`EarlyString::searches_absolutely`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_early_absolute(list: EarlyString, from_environment: bool) -> bool {
    let (mut rest, mut begins) = (list, true);
    while let Some((byte, next)) = rest.split() {
        if begins && byte != b'/' {
            // SAFETY: a string of ours.
            let origin = unsafe { EarlyString::new((&raw const ORIGIN) as usize) };
            let Some(behind) = rest.after(origin) else { return false };
            let end = behind.byte();
            if end != b'/' && end != b':' && end != 0 {
                return false;
            }
        }
        begins = byte == b':' || from_environment && byte == b';';
        rest = next;
    }
    !begins || list.byte() == 0
}
