//! Tables by hash that input can not fill with collisions: the hash is keyed with random bytes of the process
//! (AT_RANDOM).
//!
//! Names in an object, and the hashes in its DT_GNU_HASH, are chosen by the author of the object: a table by those
//! hashes can be made to degenerate into a list. Here a string is a polynomial over the integers modulo 2^61 - 1,
//! evaluated at two secret points (Carter and Wegman, "New hash functions and their use in authentication and set
//! equality", 1981). Any two strings of at most n digits, chosen before the key, have the same hash for one key in
//! (2^60 / n)^2. For the names of a million symbols that is less than one start in 2^68, so strings with equal hashes
//! are taken to be equal.
#![forbid(unsafe_code)]

use crate::base::addr::to_usize;
use crate::base::arena::{Arena, OutOfMemory};

/// 2^61 - 1, a Mersenne prime.
const MODULUS: u64 = (1 << 61) - 1;

/// Bytes in one digit of the polynomial.
const DIGIT: usize = 7;

/// The two secret points, each less than 2^60.
#[derive(Clone, Copy, Debug)]
pub struct Key([u64; 2]);

/// Hash of a sequence of strings: the value of the polynomial at both points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash([u64; 2]);

impl Key {
    /// A key from sixteen random bytes.
    #[must_use]
    pub fn new(random: [u64; 2]) -> Self {
        Self(random.map(|point| point & ((1 << 60) - 1)))
    }

    /// Hash of a string without NUL bytes.
    #[must_use]
    pub fn hash(self, string: &[u8]) -> Hash {
        self.string([0; 2], string)
    }

    /// Hash of the NUL-terminated string at the start of `bytes`, and its length rounded down to a multiple of seven;
    /// `None` if there is no NUL.
    #[must_use]
    pub fn hash_terminated(self, mut bytes: &[u8]) -> Option<(Hash, usize)> {
        let whole = bytes.len();
        const ONES: u64 = 0x0101_0101_0101_0101;
        let mut state = [0; 2];
        while let Some(word) = bytes.first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            // The lowest bit that is set is in the first byte that is 0.
            let zero = word.wrapping_sub(ONES) & !word & (ONES << 7);
            if zero != 0 {
                let lowest = zero & zero.wrapping_neg();
                let digit = word & (lowest >> 7).wrapping_sub(1);
                let last = if digit == 0 { state } else { self.digit(state, digit) };
                return Some((Hash(last.map(reduce)), whole.wrapping_sub(bytes.len())));
            }
            state = self.digit(state, word << 8 >> 8);
            bytes = bytes.get(DIGIT..).unwrap_or_default();
        }
        let end = bytes.iter().position(|&byte| byte == 0)?;
        let hash = self.string(state, bytes.get(..end).unwrap_or_default());
        Some((hash, whole.wrapping_sub(bytes.len())))
    }

    /// Hash of a longer sequence: of everything in `hash`, then `mark`, which no string contains, then `string`.
    #[must_use]
    pub fn extend(self, hash: Hash, mark: u8, string: &[u8]) -> Hash {
        let mark = (1u64 << (8 * DIGIT)) | u64::from(mark);
        self.string(self.digit(hash.0, mark), string)
    }

    /// Hash of two numbers.
    #[must_use]
    pub fn pair(self, one: u64, other: u64) -> Hash {
        let digits = [one >> 32, one << 32 >> 32, other >> 32, other << 32 >> 32];
        Hash(digits.into_iter().fold([0; 2], |state, digit| self.digit(state, digit)).map(reduce))
    }

    fn string(self, mut state: [u64; 2], mut string: &[u8]) -> Hash {
        while let Some(word) = string.first_chunk::<8>() {
            state = self.digit(state, u64::from_le_bytes(*word) << 8 >> 8);
            string = string.get(DIGIT..).unwrap_or_default();
        }
        if !string.is_empty() {
            // No string contains a NUL, so 0 is not the digit of any string, and two different strings have different
            // digits.
            let last = string.iter().rev().fold(0u64, |digit, &byte| digit << 8 | u64::from(byte));
            state = self.digit(state, last);
        }
        Hash(state.map(reduce))
    }

    /// One step of Horner's rule at both points.
    #[inline(always)]
    fn digit(self, [first, second]: [u64; 2], digit: u64) -> [u64; 2] {
        let Self([one, other]) = self;
        [step(first, one, digit), step(second, other, digit)]
    }
}

impl Hash {
    /// The hash as two numbers.
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        self.0
    }

    /// The hash with these two numbers.
    #[must_use]
    pub const fn of(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// 32 bits of the hash, for [`Numbers`].
    #[must_use]
    pub const fn fold(self) -> u32 {
        split(self.0[0] << 3).0
    }
}

/// `(state + digit) * point` modulo 2^61 - 1, not fully reduced: the result is less than 2^63 if `state` is, because
/// `point` is less than 2^60. The last digit is multiplied as well, so that names which differ only there lie far
/// apart.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the two parts of the product are what is asked for")]
const fn step(state: u64, point: u64, digit: u64) -> u64 {
    let product = (state.wrapping_add(digit) as u128).wrapping_mul(point as u128);
    (product as u64 & MODULUS).wrapping_add((product >> 61) as u64)
}

/// `value` modulo 2^61 - 1, fully reduced.
const fn reduce(value: u64) -> u64 {
    let value = (value & MODULUS).wrapping_add(value >> 61);
    if value >= MODULUS { value.wrapping_sub(MODULUS) } else { value }
}

/// A table of numbers by hash. The caller knows what the numbers stand for, and decides whether two of them are equal.
///
/// Open addressing with linear steps; at most half full. A slot holds the hash in its upper half, and the number plus
/// one in its lower half.
#[derive(Debug, Default)]
pub struct Numbers<'a> {
    slots: &'a mut [u64],
    used: usize,
}

impl<'a> Numbers<'a> {
    /// The number under `hash` for which `same` returns true.
    pub fn find(&self, hash: u32, same: impl FnMut(u32) -> bool) -> Option<u32> {
        self.look(hash, same).ok()
    }

    /// The number under `hash` for which `same` returns true, or else the index of the slot where it belongs.
    #[inline(always)]
    fn look(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Result<u32, usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut place = to_usize(hash.into()) & mask;
        // Never full, so this ends.
        loop {
            let (known, number) = split(*self.slots.get(place).ok_or(place)?);
            let number = number.checked_sub(1).ok_or(place)?;
            if known == hash && same(number) {
                return Ok(number);
            }
            place = place.wrapping_add(1) & mask;
        }
    }

    /// The number under `hash` for which `same` returns true; `None` if there was none, and `number` was inserted.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn find_or_insert(
        &mut self,
        arena: &'a Arena,
        hash: u32,
        number: u32,
        same: impl FnMut(u32) -> bool,
    ) -> Result<Option<u32>, OutOfMemory> {
        self.reserve(arena, 1)?;
        match self.look(hash, same) {
            Ok(known) => Ok(Some(known)),
            Err(place) => {
                if let Some(slot) = self.slots.get_mut(place) {
                    *slot = join(hash, number);
                    self.used = self.used.wrapping_add(1);
                }
                Ok(None)
            }
        }
    }

    /// Inserts a number that is not in the table yet. If the table has to grow for it, it grows in `arena`.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn insert(&mut self, arena: &'a Arena, hash: u32, number: u32) -> Result<(), OutOfMemory> {
        self.find_or_insert(arena, hash, number, |_| false).map(drop)
    }

    /// Makes room for `more` further numbers.
    ///
    /// # Errors
    /// The source has no memory left.
    pub fn reserve(&mut self, arena: &'a Arena, more: usize) -> Result<(), OutOfMemory> {
        let wanted = self.used.saturating_add(more).saturating_mul(2);
        if wanted <= self.slots.len() {
            return Ok(());
        }
        let size = wanted.max(32).checked_next_power_of_two().ok_or(OutOfMemory(wanted))?;
        let old = core::mem::replace(&mut self.slots, arena.slice(size, 0u64)?);
        self.used = 0;
        for (hash, number) in old.iter().map(|&slot| split(slot)) {
            if let Some(number) = number.checked_sub(1) {
                self.insert(arena, hash, number)?;
            }
        }
        Ok(())
    }

    /// Removes all numbers.
    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.used = 0;
    }
}

const fn join(hash: u32, number: u32) -> u64 {
    (hash as u64) << 32 | (number as u64).wrapping_add(1)
}

/// A slot's hash, and its number plus one; 0 if the slot is empty.
#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is asked for")]
const fn split(slot: u64) -> (u32, u32) {
    ((slot >> 32) as u32, slot as u32)
}

#[cfg(test)]
mod tests {
    use super::{DIGIT, Key, MODULUS, Numbers};
    use crate::base::arena::Arena;
    use crate::os::testing::leaking;
    use std::collections::HashSet;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

    /// The polynomial, by its definition.
    fn evaluate(string: &[u8], point: u64) -> u64 {
        let modulus = u128::from(MODULUS);
        let digits = string.chunks(DIGIT).map(|digit| {
            digit.iter().enumerate().map(|(place, byte)| u128::from(*byte) << (8 * place)).sum::<u128>()
        });
        let value = digits.fold(0u128, |value, digit| (value + digit) % modulus * u128::from(point) % modulus);
        u64::try_from(value).unwrap()
    }

    #[test]
    fn it_is_the_polynomial() {
        let bytes: Vec<u8> = (0..100).map(|byte| 255 - byte).collect();
        for points in [KEY, [0, 1], [u64::MAX, u64::MAX - 1], [MODULUS, MODULUS - 2]] {
            for size in 0..bytes.len() {
                let expected = points.map(|point| evaluate(&bytes[..size], point % (1 << 60)));
                let key = Key::new(points);
                assert_eq!(key.hash(&bytes[..size]).0, expected, "{size} bytes at {points:x?}");
                let mut ended = bytes[..size].to_vec();
                assert_eq!(key.hash_terminated(&ended), None);
                ended.push(0);
                assert_eq!(key.hash_terminated(&ended).unwrap().0.0, expected);
                ended.extend([1, 0, 0, 0x80, 1, 1, 1, 1, 1]);
                assert_eq!(key.hash_terminated(&ended).unwrap().0.0, expected);
            }
        }
    }

    #[test]
    fn what_differs_hashes_differently() {
        let key = Key::new(KEY);
        let mut seen = HashSet::new();
        for name in ["", "a", "b", "ab", "abcdefg", "abcdefga", "abcdefgabcdefg"] {
            assert!(seen.insert(key.hash(name.as_bytes()).0));
            for mark in 0..3 {
                for version in ["", "a", "V_1", "abcdefg"] {
                    let hash = key.extend(key.hash(name.as_bytes()), mark, version.as_bytes());
                    assert!(seen.insert(hash.0), "{name} {mark} {version}");
                }
            }
        }
        assert_ne!(key.hash(b"a"), Key::new([KEY[1], KEY[0]]).hash(b"abcdefga"));
    }

    #[test]
    fn numbers_are_found_again() {
        let arena = Arena::new(leaking());
        let mut numbers = Numbers::default();
        let names: Vec<String> = (0..1000).map(|number| format!("name{number}")).collect();
        // Every hash is shared by some.
        let hash = |name: &str| Key::new(KEY).hash(name.as_bytes()).fold() & 0x3f;
        let find =
            |numbers: &Numbers<'_>, name: &str| numbers.find(hash(name), |number| names[number as usize] == name);
        for (number, name) in (0u32..).zip(&names) {
            assert_eq!(find(&numbers, name), None);
            numbers.insert(&arena, hash(name), number).unwrap();
            assert_eq!(find(&numbers, name), Some(number));
        }
        assert!((0u32..).zip(&names).all(|(number, name)| find(&numbers, name) == Some(number)));
        numbers.clear();
        assert!(names.iter().all(|name| find(&numbers, name).is_none()));
    }
}
