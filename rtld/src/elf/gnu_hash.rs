//! DT_GNU_HASH: a Bloom filter that rejects most names, buckets, and chains of hashes in the order of the symbol table.
#![forbid(unsafe_code)]

use crate::base::addr::{Vaddr, from_usize};
use crate::elf::Decode;
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// Its header, checked: each part begins in memory that comes from the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GnuHash {
    bloom: Vaddr,
    bloom_mask: u32,
    bloom_shift: u32,
    buckets: Vaddr,
    bucket_count: u32,
    chains: Vaddr,
    first: u32,
    /// End of the file-backed bytes of the segment that holds the table.
    end: Vaddr,
}

const fn outside(vaddr: Vaddr) -> Problem<'static> {
    Problem::OutsideImage { table: Table::GnuHash, vaddr }
}

impl GnuHash {
    /// Decodes the header of the table at `table`.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if a part begins outside of file-backed memory; [`Problem::TableSize`] with the number
    /// of filter words, if that is not a power of two.
    pub fn decode(image: &dyn Image, table: Vaddr) -> Result<Self, Failure<'static>> {
        let header = image.bytes(table, from_usize(<[u32; 4]>::SIZE)).ok_or(outside(table))?;
        let [bucket_count, first, bloom_words, bloom_shift] = Decode::decode(header);
        if !bloom_words.is_power_of_two() {
            return Err(Problem::TableSize { table: Table::GnuHash, size: u64::from(bloom_words) }.into());
        }
        let part = |start: Vaddr, count: u32, size: u64| {
            start.checked_add(u64::from(count).wrapping_mul(size)).ok_or(outside(start))
        };
        let bloom = part(table, 1, 16)?;
        let buckets = part(bloom, bloom_words, 8)?;
        let chains = part(buckets, bucket_count, 4)?;
        let end = part(table, 1, image.file_backed(table))?;
        if chains > end {
            return Err(outside(chains).into());
        }
        let bloom_mask = bloom_words.wrapping_sub(1);
        Ok(Self { bloom, bloom_mask, bloom_shift, buckets, bucket_count, chains, first, end })
    }

    /// Number of the first symbol that the table lists.
    #[must_use]
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// Number of the last symbol of the last chain, plus one.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if the buckets, or the chain, are not all in file-backed memory.
    pub fn count(&self, image: &impl Image) -> Result<u32, Failure<'static>> {
        let size = self.chains.0.saturating_sub(self.buckets.0);
        let buckets = image.bytes(self.buckets, size).ok_or(outside(self.buckets))?;
        let last = buckets.chunks_exact(4).map(u32::decode).max().unwrap_or(0);
        if last < self.first {
            return Ok(self.first);
        }
        let mut last = last;
        while self.chain(image, last)? & 1 == 0 {
            last = self.after(last)?;
        }
        self.after(last)
    }

    /// Number of the first symbol of the chain for `hash`; `None` if the filter rejects the hash or the chain is empty.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if the filter word or the bucket is not in readable memory.
    pub fn bucket(&self, image: &impl Image, hash: u32) -> Result<Option<u32>, Failure<'static>> {
        let word = u64::from((hash >> 6) & self.bloom_mask);
        // In file-backed memory, as `decode` checked.
        let at = Vaddr(self.bloom.0.wrapping_add(word.wrapping_mul(8)));
        let filter = image.get::<u64>(at).ok_or(outside(at))?;
        let bits = (1u64 << (hash & 63)) | (1u64 << (hash.wrapping_shr(self.bloom_shift) & 63));
        if filter & bits != bits {
            return Ok(None);
        }
        let Some(bucket) = hash.checked_rem(self.bucket_count) else { return Ok(None) };
        let at = Vaddr(self.buckets.0.wrapping_add(u64::from(bucket).wrapping_mul(4)));
        let index = image.get::<u32>(at).ok_or(outside(at))?;
        Ok((index >= self.first).then_some(index))
    }

    /// Chain entry of symbol `index`: its hash, whose lowest bit is replaced by 1 at the end of the chain.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if the entry is not in file-backed memory.
    pub fn chain(&self, image: &impl Image, index: u32) -> Result<u32, Failure<'static>> {
        let entry = u64::from(index.wrapping_sub(self.first)).wrapping_mul(from_usize(u32::SIZE));
        let at = self.chains.checked_add(entry).ok_or(outside(self.chains))?;
        image.get::<u32>(at).filter(|_| at < self.end).ok_or_else(|| outside(at).into())
    }

    /// Number of the symbol after `index`.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if there is no larger number.
    pub fn after(&self, index: u32) -> Result<u32, Failure<'static>> {
        index.checked_add(1).ok_or_else(|| outside(self.chains).into())
    }
}

#[cfg(test)]
mod tests {
    use super::GnuHash;
    use crate::base::addr::Vaddr;
    use crate::os::testing::{Bytes, Symbolic};

    #[test]
    fn broken_headers_are_refused() {
        let object = Symbolic::new(&["a"], true);
        let table = Vaddr(object.hash_at as u64);
        assert_eq!(GnuHash::decode(&object.image, table), Ok(object.dynamic.gnu_hash.unwrap()));
        for (word, value) in [(2usize, 0u32), (2, 3), (2, 1 << 30), (0, u32::MAX)] {
            let mut bytes = object.image.bytes.clone();
            let at = object.hash_at + word * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let result = GnuHash::decode(&Bytes::new(bytes), table);
            assert!(result.is_err(), "word {word} = {value}: {result:?}");
        }
    }
}
