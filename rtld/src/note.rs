//! The `NT_SLUL_ABI` note of a program or library.
#![forbid(unsafe_code)]

use rt0::{ABI_MAJOR, ABI_NOTE_DESC_SIZE, AbiNote, LOADER_VERSION, NOTE_OWNER, NT_SLUL_ABI};

use crate::error::{Problem, Table};
use crate::seam::Image;

/// Finds the note in a note segment of the given alignment of entries.
fn find(mut bytes: &[u8]) -> Option<AbiNote> {
    loop {
        let (header, rest) = bytes.split_at_checked(12)?;
        let word = |index: usize| {
            let field = header.get(index..index.checked_add(4)?)?;
            field.try_into().ok().map(u32::from_ne_bytes)
        };
        let (name_size, desc_size, kind) = (word(0)?, word(4)?, word(8)?);
        let (name, rest) = padded(rest, name_size)?;
        let (desc, rest) = padded(rest, desc_size)?;
        if name == NOTE_OWNER && kind == NT_SLUL_ABI {
            let desc: [u8; ABI_NOTE_DESC_SIZE] = desc.get(..ABI_NOTE_DESC_SIZE)?.try_into().ok()?;
            return Some(AbiNote::from_ne_bytes(desc));
        }
        bytes = rest;
    }
}

/// Splits `size` bytes and their padding to four off the front. The last entry may go without padding.
fn padded(bytes: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let size = usize::try_from(size).ok()?;
    let part = bytes.get(..size)?;
    let rest = size.checked_next_multiple_of(4).and_then(|end| bytes.get(end..));
    Some((part, rest.unwrap_or_default()))
}

/// The object's ABI note, if it has one that this loader can honour; an error if it can not.
pub fn abi_note(image: &impl Image) -> Result<Option<AbiNote>, Problem<'static>> {
    // Notes that are not in memory at all are for other tools.
    let places = || image.plan().notes.iter().flatten().filter(|place| image.readable(place.vaddr) != 0);
    if let Some(place) = places().find(|place| place.size > image.file_backed(place.vaddr)) {
        return Err(Problem::OutsideImage { table: Table::Note, vaddr: place.vaddr });
    }
    let found = places().filter_map(|place| image.bytes(place.vaddr, place.size)).find_map(find);
    let Some(note) = found else { return Ok(None) };
    if note.abi_major > ABI_MAJOR || note.min_loader > LOADER_VERSION {
        return Err(Problem::NewerAbi { abi_major: note.abi_major, min_loader: note.min_loader });
    }
    match note.unknown_flags() {
        0 => Ok(Some(note)),
        flags => Err(Problem::AbiFlags(flags)),
    }
}

#[cfg(test)]
mod tests {
    use super::find;
    use std::vec::Vec;

    fn entry(owner: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(owner.len()).unwrap().to_ne_bytes());
        bytes.extend(u32::try_from(desc.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        for part in [owner, desc] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn ours_is_found_among_others() {
        let mut bytes = entry(b"GNU\0", 3, &[9; 20]);
        bytes.extend(entry(b"SLUL\0", 2, &[0; 16]));
        bytes.extend(entry(b"SLUL\0", 1, &[1; 16]));
        assert_eq!(find(&bytes).unwrap().flags, 0x0101_0101);
        assert!(find(&entry(b"SLUL\0", 1, &[0; 12])).is_none(), "too short to be the note");
    }

    #[test]
    fn sizes_are_not_believed() {
        let mut bytes = entry(b"SLUL\0", 1, &[0; 16]);
        for at in [0, 4] {
            let mut broken = bytes.clone();
            broken[at..at + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
            assert!(find(&broken).is_none());
        }
        for len in 0..bytes.len() {
            assert!(find(&bytes[..len]).is_none());
        }
        bytes.truncate(bytes.len());
        assert!(find(&bytes).is_some());
    }
}
