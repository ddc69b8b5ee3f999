//! Files with random faults, the same in every run.

/// Pseudo-random numbers, the same in every run (Marsaglia, "Xorshift RNGs": xorshift64).
#[derive(Clone, Debug)]
pub struct Xorshift(u64);

impl Xorshift {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // From a state of 0 all numbers would be 0.
        Self(if seed == 0 { 1 } else { seed })
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number below a limit, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// One of some values.
    fn one_of<T: Copy + Default>(&mut self, values: &[T]) -> T {
        values.get(self.below(values.len())).copied().unwrap_or_default()
    }
}

/// Changes one to eight adjacent bytes.
pub fn mutate(bytes: &mut [u8], random: &mut Xorshift) {
    let start = random.below(bytes.len());
    let count = 1 + random.below(8);
    let style = random.next() % 4;
    for byte in bytes.iter_mut().skip(start).take(count) {
        match style {
            0 => *byte ^= 1 << random.below(8),
            1 => *byte = 0xff,
            2 => *byte = 0,
            _ => *byte = random.next().to_le_bytes().first().copied().unwrap_or_default(),
        }
    }
}

/// Changes a file within `places`, ranges of positions. It changes a few bytes, or a whole field: to a boundary value,
/// to a value near the old one, or to one from elsewhere in the file.
pub fn mutate_within(bytes: &mut [u8], places: &[(usize, usize)], random: &mut Xorshift) {
    const NUMBERS: [u64; 14] = [
        0,
        1,
        2,
        7,
        8,
        0xfff,
        0x1000,
        0x7fff_ffff,
        0xffff_ffff,
        1 << 32,
        1 << 46,
        (1 << 47) - 0x1000,
        i64::MAX.cast_unsigned(),
        u64::MAX,
    ];
    let (start, end) = random.one_of(places);
    if random.below(2) == 0 {
        return mutate(bytes.get_mut(start..end).unwrap_or_default(), random);
    }
    let size = random.one_of(&[2usize, 4, 8, 8]);
    // Fields lie at multiples of their size.
    let at = (start + random.below(end - start)) / size * size;
    let (from, to) = random.one_of(places);
    let elsewhere = from + random.below(to - from);
    let read = |at: usize| {
        let mut word = [0u8; 8];
        let found = bytes.get(at..at + size).unwrap_or_default();
        word.iter_mut().zip(found).for_each(|(place, &byte)| *place = byte);
        u64::from_le_bytes(word)
    };
    let value = match random.below(4) {
        0 => random.one_of(&NUMBERS),
        1 => read(at).wrapping_add(random.one_of(&[1, 8, 24, 0x1000, u64::MAX, 8u64.wrapping_neg()])),
        2 => read(elsewhere / size * size),
        _ => read(at) ^ (1 << random.below(8 * size)),
    };
    if let Some(place) = bytes.get_mut(at..at + size) {
        place.copy_from_slice(value.to_le_bytes().get(..size).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::{Xorshift, mutate_within};

    #[test]
    fn only_the_places_change_and_all_of_them_do() {
        let (places, mut random) = ([(8, 16), (24, 40)], Xorshift::new(7));
        let mut changed = [false; 64];
        for _ in 0..2000 {
            let mut bytes = [0x55; 64];
            mutate_within(&mut bytes, &places, &mut random);
            bytes.iter().zip(&mut changed).for_each(|(&byte, changed)| *changed |= byte != 0x55);
        }
        let inside = |at: usize| (8..16).contains(&at) || (24..40).contains(&at);
        assert_eq!(changed.to_vec(), (0..64).map(inside).collect::<Vec<_>>());
    }
}
