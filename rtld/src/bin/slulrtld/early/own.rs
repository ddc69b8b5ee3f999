//! What the loader itself exports, before it is relocated: its own DT_GNU_HASH.
//!
//! # Safety
//! This file exists because the loader's tables are read by address. They are what the linker made of this very program.
#![allow(unsafe_code)]

use rtld::elf::Sym;

use crate::cpu::ops::own_tables;
use crate::early::raw::At;
use crate::early::text::EarlyString;

/// The symbol of that name.
#[inline(always)]
pub(crate) fn find(name: EarlyString) -> Option<At<Sym>> {
    let found = slul_own_symbol(name);
    // SAFETY: of the loader's own table.
    if found == 0 { None } else { Some(unsafe { At::new(found) }) }
}

/// Whether the name of something that the loader exports is that of a memory function: of all others it begins with
/// `slul_`, `dl_` or `_`.
#[inline(always)]
pub(crate) fn is_memory_function(name: EarlyString) -> bool {
    match name.split() {
        Some((b'm' | b'b', _)) => true,
        Some((b's', rest)) => matches!(rest.split(), Some((b't', _))),
        _ => false,
    }
}

/// Whether a name begins with `slul_`, which names of the loader's own exports do.
#[inline(always)]
pub(crate) fn is_reserved(name: EarlyString) -> bool {
    let mut prefix = u64::from_le_bytes(*b"slul_\0\0\0");
    let mut rest = name;
    while prefix != 0 {
        match rest.split() {
            Some((byte, next)) if byte as u64 == prefix & 0xff => rest = next,
            _ => return false,
        }
        prefix = prefix.wrapping_shr(8);
    }
    true
}

/// Address of the loader's symbol of that name; 0 if there is none. As `elf/gnu_hash.rs` looks it up, in a table that is
/// known to be sound.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slul_own_symbol(name: EarlyString) -> usize {
    const HEAD: usize = 16;
    const SYMBOL: usize = size_of::<Sym>();
    let (table, symbols, strings) = own_tables();
    // SAFETY: the loader's own tables.
    let word = |address: usize| unsafe { At::<u32>::new(address) }.half();
    let mut hash = 5381u32;
    let mut rest = name;
    while let Some((byte, next)) = rest.split() {
        hash = hash.wrapping_mul(33).wrapping_add(byte as u32);
        rest = next;
    }
    let (bucket_count, first) = (word(table), word(table.wrapping_add(4)));
    let (bloom_words, shift) = (word(table.wrapping_add(8)), word(table.wrapping_add(12)));
    let bloom = table.wrapping_add(HEAD);
    let filter =
        bloom.wrapping_add(((hash.wrapping_shr(6) & bloom_words.wrapping_sub(1)) as usize).wrapping_mul(8));
    // SAFETY: as above.
    let filter = unsafe { At::<usize>::new(filter) }.word();
    if filter.wrapping_shr(hash) & filter.wrapping_shr(hash.wrapping_shr(shift)) & 1 == 0 {
        return 0;
    }
    let buckets = bloom.wrapping_add((bloom_words as usize).wrapping_mul(8));
    let chains = buckets.wrapping_add((bucket_count as usize).wrapping_mul(4));
    let Some(bucket) = hash.checked_rem(bucket_count) else { return 0 };
    let mut index = word(buckets.wrapping_add((bucket as usize).wrapping_mul(4)));
    if index < first {
        return 0;
    }
    loop {
        let chained = word(chains.wrapping_add((index.wrapping_sub(first) as usize).wrapping_mul(4)));
        let symbol = symbols.wrapping_add((index as usize).wrapping_mul(SYMBOL));
        if chained | 1 == hash | 1 {
            // SAFETY: as above.
            let found = unsafe { At::<Sym>::new(symbol) };
            // SAFETY: as above.
            let of_it = unsafe { EarlyString::new(strings.wrapping_add(found.name_offset() as usize)) };
            if of_it.equals(name) {
                return symbol;
            }
        }
        if chained & 1 != 0 {
            return 0;
        }
        index = index.wrapping_add(1);
    }
}
