//! An object's unwind tables (LSB, "Exception Frames"; DWARF, "Call Frame Information"), prepared for an unwinder to
//! which each table is registered, and which walks the records up to a word of zero.
//!
//! In an ordinary program, crt0's last object supplies that word; objects without libc lack it. Where it is missing,
//! the records are copied, the word is appended, and their pc-relative distances are corrected.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, Vaddr, to_usize};
use crate::elf::{Decode, Phdr, consts, size};
use crate::link::namespace::Module;
use crate::os::seam::Image;

/// The records of a `.eh_frame` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EhFrame {
    /// The first record.
    pub start: Vaddr,
    /// Size of all records in bytes.
    pub size: u64,
    /// Whether a word of zero follows them.
    pub terminated: bool,
}

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`: the encoding that compilers write in the records, and linkers in the header.
const POINTER: u8 = 0x1b;
/// `DW_EH_PE_indirect`: the encoded address is that of a word which holds the pointer.
const INDIRECT: u8 = 0x80;
/// `DW_EH_PE_udata4`.
const COUNT: u8 = 0x03;

/// Size in bytes of the word at the end, and of each field that is read here.
pub const WORD: usize = 4;

/// The object's records, if its `.eh_frame_hdr` states their number.
pub fn find<I: Image>(module: &Module<'_, I>) -> Option<EhFrame> {
    let image = &module.image;
    let (table, count) = module.phdrs?;
    let bytes = image.bytes(table, u64::from(count).checked_mul(size::PHDR as u64)?)?;
    let mut phdrs = bytes.chunks_exact(size::PHDR).map(Phdr::decode);
    let header = Vaddr(phdrs.find(|phdr| phdr.p_type == consts::PT_GNU_EH_FRAME)?.p_vaddr);
    let [version, pointer, encoding, _] = *image.bytes(header, 4)? else { return None };
    if (version, pointer, encoding) != (1, POINTER, COUNT) {
        return None;
    }
    let place = header.checked_add(4)?;
    let distance = image.get::<u32>(place)?.cast_signed();
    let start = Vaddr(place.0.wrapping_add_signed(distance.into()));
    let records = image.get::<u32>(header.checked_add(8)?)?;
    let mut at = start;
    let mut seen = 0u32;
    while seen < records {
        let length = u64::from(image.get::<u32>(at)?);
        // 0 ends the records. No tool writes the 64-bit form, which 0xffffffff announces.
        if length < 4 || length == u64::from(u32::MAX) || image.file_backed(at) < length.saturating_add(4) {
            return None;
        }
        // The next word is 0 in a CIE, the distance to its CIE in an FDE.
        seen = seen.saturating_add(u32::from(image.get::<u32>(at.checked_add(4)?)? != 0));
        at = at.checked_add(length)?.checked_add(4)?;
    }
    Some(EhFrame { start, size: at.0.wrapping_sub(start.0), terminated: image.get::<u32>(at) == Some(0) })
}

/// Writes a copy of the records at `from` into `copy`, which lies at `to`, is zero, and has room for the word after
/// them. `None` if they contain something that can not be moved.
pub fn relocate(records: &[u8], from: RuntimeAddr, to: RuntimeAddr, copy: &mut [u8]) -> Option<()> {
    copy.get_mut(..records.len())?.copy_from_slice(records);
    let delta = from.0.wrapping_sub(to.0).cast_signed();
    let mut at = 0usize;
    while at < records.len() {
        let length = to_usize(word(records, at)?.into());
        let end = at.checked_add(length)?.checked_add(WORD)?;
        let record = records.get(..end)?;
        let id_at = at.checked_add(WORD)?;
        let distance = to_usize(word(record, id_at)?.into());
        if distance == 0 {
            if let Some(place) = augmentation(record, at)?.personality {
                shift(copy, place, delta)?;
            }
        } else {
            let cie_at = id_at.checked_sub(distance)?;
            let cie_end = cie_at.checked_add(to_usize(word(records, cie_at)?.into()))?.checked_add(WORD)?;
            let augmentation = augmentation(records.get(..cie_end)?, cie_at)?;
            let begin = id_at.checked_add(WORD)?;
            shift(copy, begin, delta)?;
            if augmentation.has_lsda {
                // After the length of the range, and that of the augmentation.
                let mut cursor = Cursor { bytes: record, at: begin.checked_add(8)? };
                cursor.leb()?;
                let place = cursor.at;
                if word(record, place)? != 0 {
                    shift(copy, place, delta)?;
                }
            }
        }
        at = end;
    }
    Some(())
}

/// The pointers that a CIE says are in it and in its FDEs; all have the encoding [`POINTER`].
struct Augmentation {
    /// Offset of the pointer to the personality routine.
    personality: Option<usize>,
    has_lsda: bool,
}

fn augmentation(bytes: &[u8], cie: usize) -> Option<Augmentation> {
    let mut cursor = Cursor { bytes, at: cie.checked_add(8)? };
    if cursor.byte()? != 1 {
        return None;
    }
    let text_at = cursor.at;
    while cursor.byte()? != 0 {}
    let text = bytes.get(text_at..cursor.at.checked_sub(1)?)?;
    // Alignments of code and data, the return address's register.
    cursor.leb()?;
    cursor.leb()?;
    cursor.leb()?;
    let mut found = Augmentation { personality: None, has_lsda: false };
    let [b'z', letters @ ..] = text else { return None };
    cursor.leb()?;
    let mut pointers = false;
    for letter in letters {
        match letter {
            b'R' => pointers = cursor.byte()? == POINTER,
            b'L' => {
                if cursor.byte()? != POINTER {
                    return None;
                }
                found.has_lsda = true;
            }
            b'P' => {
                if cursor.byte()? & !INDIRECT != POINTER {
                    return None;
                }
                found.personality = Some(cursor.at);
                cursor.at = cursor.at.checked_add(WORD)?;
            }
            b'S' | b'B' => {}
            _ => return None,
        }
    }
    pointers.then_some(found)
}

/// Reads bytes one after the other.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at = self.at.checked_add(1)?;
        Some(byte)
    }

    /// Skips a LEB128 number.
    fn leb(&mut self) -> Option<()> {
        while self.byte()? & 0x80 != 0 {}
        Some(())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(WORD)?)?;
    field.try_into().ok().map(u32::from_le_bytes)
}

/// Corrects a distance that is relative to its own place, which has moved by `-delta` bytes.
fn shift(copy: &mut [u8], at: usize, delta: i64) -> Option<()> {
    let distance = i64::from(word(copy, at)?.cast_signed());
    let moved = i32::try_from(distance.checked_add(delta)?).ok()?;
    copy.get_mut(at..at.checked_add(WORD)?)?.copy_from_slice(&moved.to_le_bytes());
    Some(())
}

/// Room that a copy takes, in bytes.
#[must_use]
pub fn room(frame: &EhFrame) -> usize {
    to_usize(frame.size).saturating_add(WORD)
}

#[cfg(test)]
mod tests {
    use super::{WORD, relocate, word};
    use crate::base::addr::RuntimeAddr;
    use std::vec::Vec;

    /// A CIE with a personality and LSDA pointers, and two FDEs, as gcc writes them.
    fn records() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([0x1c, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend(b"zPLR\0");
        bytes.extend([1, 0x78, 0x10, 7, 0x9b]);
        bytes.extend(1000i32.to_le_bytes());
        bytes.extend([0x1b, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0]);
        assert_eq!(bytes.len(), 0x20);
        for lsda in [0i32, 50] {
            let start = bytes.len();
            bytes.extend(0x14u32.to_le_bytes());
            bytes.extend(u32::try_from(start + 4).unwrap().to_le_bytes());
            bytes.extend((-4096i32).to_le_bytes());
            bytes.extend(16u32.to_le_bytes());
            bytes.push(4);
            bytes.extend(lsda.to_le_bytes());
            bytes.extend([0, 0, 0]);
        }
        bytes
    }

    #[test]
    fn distances_lead_where_they_led() {
        let records = records();
        let mut copy = std::vec![0; records.len() + WORD];
        let moved = relocate(&records, RuntimeAddr(0x10_0000), RuntimeAddr(0x30_0000), &mut copy);
        assert_eq!(moved, Some(()));
        let delta = -0x20_0000i32;
        for (at, before) in [(0x13, 1000), (0x28, -4096), (0x40, -4096), (0x49, 50)] {
            assert_eq!(word(&copy, at).unwrap().cast_signed(), before + delta, "{at:#x}");
        }
        assert_eq!(word(&copy, 0x31), Some(0), "no LSDA is no LSDA");
        assert_eq!(word(&copy, records.len()), Some(0));
        let same: Vec<usize> = (0..records.len()).filter(|&at| records[at] != copy[at]).collect();
        assert!(same.iter().all(|at| [0x13, 0x28, 0x40, 0x49].iter().any(|field| at - field < 4)), "{same:x?}");
    }

    #[test]
    fn what_can_not_be_moved() {
        let records = records();
        let mut copy = std::vec![0; records.len() + WORD];
        let far = RuntimeAddr(0x10_0000 + (3 << 30));
        assert_eq!(relocate(&records, RuntimeAddr(0x10_0000), far, &mut copy), None, "too far");
        for at in 0..records.len() {
            let mut broken = records.clone();
            broken[at] ^= 0xff;
            // Whatever it makes of it, it does not panic.
            let _ = relocate(&broken, RuntimeAddr(0x10_0000), RuntimeAddr(0x30_0000), &mut copy);
        }
        assert_eq!(relocate(&records[..0x30], RuntimeAddr(0), RuntimeAddr(0), &mut copy), None, "cut");
    }
}
