//! The notes of a program or library: `NT_SLUL_ABI`, and `NT_SLUL_RT0` where the rt0 stub is linked in.
#![forbid(unsafe_code)]

use abi::note::{
    ABI_MAJOR, AbiNote, LOADER_VERSION, NOTE_OWNER, NT_SLUL_ABI, NT_SLUL_RT0, RT0_NOTE_SIZE, Rt0Note,
};

use crate::base::addr::{Vaddr, from_usize};
use crate::elf::plan::{Place, Segment};
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// Finds a note of owner `SLUL` and type `wanted` in a note segment: its descriptor, and the offset of the descriptor
/// in the segment.
fn find(all: &[u8], wanted: u32) -> Option<(&[u8], usize)> {
    let mut bytes = all;
    loop {
        let (header, rest) = bytes.split_at_checked(12)?;
        let word = |index: usize| {
            let field = header.get(index..index.checked_add(4)?)?;
            field.try_into().ok().map(u32::from_ne_bytes)
        };
        let (name_size, desc_size, kind) = (word(0)?, word(4)?, word(8)?);
        let (name, rest) = padded(rest, name_size)?;
        let at = all.len().saturating_sub(rest.len());
        let (desc, rest) = padded(rest, desc_size)?;
        if name == NOTE_OWNER && kind == wanted {
            return Some((desc, at));
        }
        bytes = rest;
    }
}

/// Splits `size` bytes, and their padding to a multiple of four, off the front. The last entry may lack its padding.
fn padded(bytes: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let size = usize::try_from(size).ok()?;
    let part = bytes.get(..size)?;
    let rest = size.checked_next_multiple_of(4).and_then(|end| bytes.get(end..));
    Some((part, rest.unwrap_or_default()))
}

/// The object's ABI note; `None` without one.
///
/// # Errors
/// [`Problem::NewerAbi`] if the note asks for a newer ABI or loader, [`Problem::AbiFlags`] for flags that this loader
/// does not understand but must, [`Problem::OutsideImage`] if a note segment is longer than its bytes from the file.
pub fn abi_note(image: &dyn Image) -> Result<Option<AbiNote>, Failure<'static>> {
    // Notes that are not mapped at all are for other tools.
    let places = || image.plan().notes.iter().filter(|place| image.readable(place.vaddr) != 0);
    if let Some(place) = places().find(|place| place.size > image.file_backed(place.vaddr)) {
        return Err(Problem::OutsideImage { table: Table::Note, vaddr: place.vaddr }.into());
    }
    let mut segments = places().filter_map(|place| image.bytes(place.vaddr, place.size));
    let found = segments.find_map(|segment| find(segment, NT_SLUL_ABI));
    // A note with too short a descriptor counts as none.
    let Some(desc) = found.and_then(|(desc, _)| desc.first_chunk()) else { return Ok(None) };
    let note = AbiNote::from_ne_bytes(*desc);
    if note.abi_major > ABI_MAJOR || note.min_loader > LOADER_VERSION {
        return Err(Problem::NewerAbi { abi_major: note.abi_major, min_loader: note.min_loader }.into());
    }
    match note.unknown_flags() {
        0 => Ok(Some(note)),
        flags => Err(Problem::AbiFlags(flags).into()),
    }
}

/// Most bytes of a segment that are searched for a stray note.
const SEARCHED: u64 = 1 << 20;

/// Address of an ABI note among the constants of an object, which is in no PT_NOTE: its section was not of type SHT_NOTE.
pub fn stray_note(image: &impl Image) -> Option<Vaddr> {
    let note = AbiNote { abi_major: 0, abi_minor: 0, flags: 0, min_loader: 0 }.to_ne_bytes();
    // Sizes, type and owner.
    let start = note.get(..20)?;
    let constant = |segment: &&Segment| segment.protection.read && !segment.protection.write;
    image.plan().segments().iter().filter(constant).find_map(|segment| {
        let vaddr = segment.mem_start;
        let bytes = image.bytes(vaddr, image.file_backed(vaddr).min(SEARCHED))?;
        let found = bytes.windows(start.len()).step_by(4).position(|window| window == start)?;
        vaddr.checked_add(from_usize(found).wrapping_mul(4))
    })
}

/// What an rt0 stub's note tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The program's own entry.
    pub entry: Vaddr,
    /// The function to call when the list of objects has changed; debuggers set a breakpoint there.
    pub changed: Option<Vaddr>,
}

/// The stub, if a program's `e_entry`, at `entry`, is one: by the note before it, or by that of a PT_NOTE.
pub fn stub(image: &impl Image, entry: Vaddr) -> Option<Stub> {
    let size = from_usize(RT0_NOTE_SIZE);
    let before = entry.0.checked_sub(size).map(|start| Place { vaddr: Vaddr(start), size });
    before.iter().chain(image.plan().notes).find_map(|place| {
        let (desc, at) = find(image.bytes(place.vaddr, place.size)?, NT_SLUL_RT0)?;
        let note = Rt0Note::from_ne_bytes(*desc.first_chunk()?);
        let start = place.vaddr.0.wrapping_add(from_usize(at));
        let far = |distance: i32| Vaddr(start.wrapping_add_signed(distance.into()));
        Some(Stub { entry: far(note.entry), changed: (note.changed != 0).then(|| far(note.changed)) })
    })
}

#[cfg(test)]
mod tests {
    use abi::note::{AbiNote, NT_SLUL_ABI, NT_SLUL_RT0};
    use std::vec::Vec;

    fn find(bytes: &[u8]) -> Option<AbiNote> {
        let (desc, _) = super::find(bytes, NT_SLUL_ABI)?;
        desc.first_chunk().map(|desc| AbiNote::from_ne_bytes(*desc))
    }

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
        assert_eq!(super::find(&bytes, NT_SLUL_RT0), Some(([0; 16].as_slice(), 36 + 20)));
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
