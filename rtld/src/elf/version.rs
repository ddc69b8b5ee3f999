//! Versions of symbols (LSB, "Symbol Versioning"): which an object asks for, by DT_VERSYM and DT_VERNEED, and which
//! it has, by DT_VERDEF. What binds to what follows glibc's `check_match`.
#![forbid(unsafe_code)]

use crate::base::addr::{Vaddr, from_usize};
use crate::base::arena::{Arena, List};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::{Decode, Verdef, Vernaux, Verneed, consts};
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// A version as a reference names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRef<'i> {
    /// File that is to define it, as in DT_NEEDED.
    pub file: &'i [u8],
    /// Name of the version.
    pub version: &'i [u8],
}

/// What an object has in DT_VERNEED, by the numbers that DT_VERSYM refers to.
pub struct NeededVersions<'a>(List<'a, Option<(Verneed, Vernaux)>>);

impl<'a> NeededVersions<'a> {
    /// Of no object yet.
    #[must_use]
    pub const fn new(arena: &'a Arena) -> Self {
        Self(List::new(arena))
    }

    /// Makes it that object's.
    pub fn read(&mut self, image: &impl Image, dynamic: &DynamicInfo) -> Result<(), Failure<'static>> {
        self.0.truncate(0);
        if dynamic.versym.is_none() {
            return Ok(());
        }
        find_needed(image, dynamic, |file, aux| {
            let number = usize::from(aux.vna_other & consts::VERSYM_VERSION);
            self.0.put_first(number, (*file, *aux))?;
            Ok(false)
        })
        .map(drop)
    }

    /// Whether the object needs none, whatever the symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The version that the object's symbol `index` is referred to with, if any.
    pub fn of<'i>(
        &self,
        image: &'i impl Image,
        dynamic: &DynamicInfo,
        index: u32,
    ) -> Result<Option<VersionRef<'i>>, Failure<'static>> {
        let Some(versym) = dynamic.versym.filter(|_| !self.0.is_empty()) else { return Ok(None) };
        let number = versym_entry(image, versym, index)? & consts::VERSYM_VERSION;
        // What is not there is a version that the object defines itself.
        match self.0.get(usize::from(number)) {
            Some(Some((file, aux))) if number > consts::VER_NDX_GLOBAL => {
                version_ref(image, dynamic, file, aux).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The names behind an entry of DT_VERNEED.
fn version_ref<'i>(
    image: &'i impl Image,
    dynamic: &DynamicInfo,
    file: &Verneed,
    aux: &Vernaux,
) -> Result<VersionRef<'i>, Failure<'static>> {
    let version = dynamic.strings.get(image, u64::from(aux.vna_name))?;
    let file = dynamic.strings.get(image, u64::from(file.vn_file))?;
    Ok(VersionRef { file, version })
}

/// The first entry of DT_VERNEED that `wanted` says yes to.
fn find_needed<'p>(
    image: &impl Image,
    dynamic: &DynamicInfo,
    mut wanted: impl FnMut(&Verneed, &Vernaux) -> Result<bool, Failure<'p>>,
) -> Result<Option<(Verneed, Vernaux)>, Failure<'p>> {
    let Some((mut at, files)) = dynamic.verneed else { return Ok(None) };
    let outside = |vaddr| Problem::OutsideImage { table: Table::Verneed, vaddr };
    let mut left = image.file_backed(at).checked_div(from_usize(Vernaux::SIZE)).unwrap_or(0);
    // Both loops end by the counts that the tables state; offsets of zero end them sooner.
    for _ in 0..files {
        let file: Verneed = image.get(at).ok_or(outside(at))?;
        let mut aux_at = at.checked_add(u64::from(file.vn_aux)).ok_or(outside(at))?;
        for _ in 0..file.vn_cnt {
            // Entries that share memory could be read for ever.
            left = left.checked_sub(1).ok_or(Problem::TableSize { table: Table::Verneed, size: files })?;
            let aux: Vernaux = image.get(aux_at).ok_or(outside(aux_at))?;
            if wanted(&file, &aux)? {
                return Ok(Some((file, aux)));
            }
            if aux.vna_next == 0 {
                break;
            }
            aux_at = aux_at.checked_add(u64::from(aux.vna_next)).ok_or(outside(aux_at))?;
        }
        if file.vn_next == 0 {
            break;
        }
        at = at.checked_add(u64::from(file.vn_next)).ok_or(outside(at))?;
    }
    Ok(None)
}

/// Whether a definition serves a reference, as far as versions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is the one.
    Bind,
    /// It is, if the object has no other.
    Otherwise,
    /// It is not.
    Refuse,
}

/// Largest index of what a reference without a version binds to at once: global, and the object's first version.
pub const FIRST_VERSION: u16 = 2;

/// What a reference asks for, in terms of one object's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The object has no versions, and serves every reference.
    Any,
    /// No version: the definition of the largest number up to this, or else the one that is not hidden.
    UpTo(u16),
    /// A version that the object has a number for. Definitions without a version serve as well.
    Number(u16),
    /// A version that it does not have.
    Unknown,
}

impl Wanted {
    /// What a reference with that version, or with none, asks of the object: with none, its first version, or the
    /// `newest`, which is the one that is not hidden.
    pub fn of(
        image: &impl Image,
        dynamic: &DynamicInfo,
        version: Option<&[u8]>,
        newest: bool,
    ) -> Result<Self, Failure<'static>> {
        if dynamic.versym.is_none() {
            return Ok(Self::Any);
        }
        let Some(version) = version else {
            return Ok(Self::UpTo(if newest { consts::VER_NDX_GLOBAL } else { FIRST_VERSION }));
        };
        let number = defined(image, dynamic, |_, name| dynamic.strings.is(image, u64::from(name), version))?;
        Ok(number.map_or(Self::Unknown, |(number, _)| Self::Number(number)))
    }

    /// Whether symbol `index` of that object serves the reference.
    pub fn accepts(
        self,
        image: &impl Image,
        dynamic: &DynamicInfo,
        index: u32,
    ) -> Result<Acceptance, Failure<'static>> {
        let Some(entry) = symbol_version(image, dynamic, index)? else { return Ok(Acceptance::Bind) };
        Ok(match self {
            Self::Any => Acceptance::Bind,
            Self::UpTo(first) if entry.number <= first => Acceptance::Bind,
            Self::UpTo(_) if !entry.hidden => Acceptance::Otherwise,
            Self::Number(number) if entry.number == number => Acceptance::Bind,
            // A definition without a version in an object that has some.
            Self::Number(_) | Self::Unknown if entry.number <= consts::VER_NDX_GLOBAL && !entry.hidden => {
                Acceptance::Bind
            }
            _ => Acceptance::Refuse,
        })
    }
}

/// What DT_VERSYM has for a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolVersion {
    /// Number of its version.
    pub number: u16,
    /// Whether only references with that version mean it.
    pub hidden: bool,
}

/// The version of symbol `index`; `None` in an object without versions.
#[inline]
pub fn symbol_version(
    image: &impl Image,
    dynamic: &DynamicInfo,
    index: u32,
) -> Result<Option<SymbolVersion>, Failure<'static>> {
    let Some(versym) = dynamic.versym else { return Ok(None) };
    let entry = versym_entry(image, versym, index)?;
    let hidden = entry & !consts::VERSYM_VERSION != 0;
    Ok(Some(SymbolVersion { number: entry & consts::VERSYM_VERSION, hidden }))
}

fn versym_entry(image: &impl Image, versym: Vaddr, index: u32) -> Result<u16, Failure<'static>> {
    let entry = versym.checked_add(u64::from(index).wrapping_mul(2));
    let outside = Problem::OutsideImage { table: Table::Versym, vaddr: versym };
    entry.and_then(|vaddr| image.get::<u16>(vaddr)).ok_or_else(|| outside.into())
}

/// The first version that the object defines and `wanted` says yes to, given its number and its name in the string table.
/// The base version, which names the file, is none.
pub fn defined<'p>(
    image: &impl Image,
    dynamic: &DynamicInfo,
    mut wanted: impl FnMut(u16, u32) -> Result<bool, Failure<'p>>,
) -> Result<Option<(u16, u32)>, Failure<'p>> {
    let Some((mut at, count)) = dynamic.verdef else { return Ok(None) };
    let outside = |vaddr| Problem::OutsideImage { table: Table::Verdef, vaddr };
    for _ in 0..count {
        let entry: Verdef = image.get(at).ok_or(outside(at))?;
        let aux = at.checked_add(u64::from(entry.vd_aux)).ok_or(outside(at))?;
        // The first Verdaux names the version itself, the others those that it builds on.
        let name = image.get::<u32>(aux).ok_or(outside(aux))?;
        let number = entry.vd_ndx & consts::VERSYM_VERSION;
        if entry.vd_flags & consts::VER_FLG_BASE == 0 && wanted(number, name)? {
            return Ok(Some((number, name)));
        }
        if entry.vd_next == 0 {
            break;
        }
        at = at.checked_add(u64::from(entry.vd_next)).ok_or(outside(at))?;
    }
    Ok(None)
}

/// Calls `visit` for each version that the object needs, with whether it can do without.
pub fn for_each_needed<'i, 'p>(
    image: &'i impl Image,
    dynamic: &DynamicInfo,
    mut visit: impl FnMut(VersionRef<'i>, bool) -> Result<(), Failure<'p>>,
) -> Result<(), Failure<'p>> {
    let all = |file: &Verneed, aux: &Vernaux| {
        let needed = version_ref(image, dynamic, file, aux)?;
        visit(needed, aux.vna_flags & consts::VER_FLG_WEAK != 0).map(|()| false)
    };
    find_needed(image, dynamic, all).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{NeededVersions, Problem, Table, VersionRef};
    use crate::base::addr::Vaddr;
    use crate::base::arena::Arena;
    use crate::elf::consts;
    use crate::elf::dynamic::DynamicInfo;
    use crate::elf::plan::Place;
    use crate::os::testing::Bytes;
    use crate::os::testing::leaking;
    use std::vec::Vec;

    /// Three symbols with versions 1 (global), 2 and 3, of one file each.
    fn image() -> (Bytes, DynamicInfo) {
        let mut bytes: Vec<u8> = Vec::new();
        for (tag, value) in [
            (consts::DT_STRTAB, 0x100u64),
            (consts::DT_STRSZ, 0x20),
            (consts::DT_VERSYM, 0x120),
            (consts::DT_VERNEED, 0x140),
            (consts::DT_VERNEEDNUM, 2),
        ] {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.resize(0x100, 0);
        bytes.extend(b"\0one.so\0V1\0two.so\0V2\0");
        bytes.resize(0x120, 0);
        for version in [1u16, 2, 0x8003] {
            bytes.extend(version.to_le_bytes());
        }
        bytes.resize(0x140, 0);
        for (file, name, other, next) in [(1u32, 8u32, 2u16, 32u32), (11, 18, 3, 0)] {
            bytes.extend([1, 0, 1, 0]);
            bytes.extend(file.to_le_bytes());
            bytes.extend(16u32.to_le_bytes());
            bytes.extend(next.to_le_bytes());
            bytes.extend([0; 6]);
            bytes.extend(other.to_le_bytes());
            bytes.extend(name.to_le_bytes());
            bytes.extend([0; 4]);
        }
        let image = Bytes::new(bytes);
        let dynamic = DynamicInfo::decode(&image, Place { vaddr: Vaddr(0), size: 0x50 }).unwrap();
        (image, dynamic)
    }

    #[test]
    fn file_and_version_of_a_reference() {
        let (image, dynamic) = image();
        let arena = Arena::new(leaking());
        let mut needed = NeededVersions::new(&arena);
        needed.read(&image, &dynamic).unwrap();
        assert_eq!(needed.of(&image, &dynamic, 0), Ok(None));
        let one = VersionRef { file: b"one.so", version: b"V1" };
        assert_eq!(needed.of(&image, &dynamic, 1), Ok(Some(one)));
        let two = VersionRef { file: b"two.so", version: b"V2" };
        assert_eq!(needed.of(&image, &dynamic, 2), Ok(Some(two)));
        needed.read(&image, &DynamicInfo::default()).unwrap();
        assert_eq!(needed.of(&image, &dynamic, 1), Ok(None), "another object's");
    }

    #[test]
    fn a_chain_out_of_the_image_is_an_error() {
        let (mut image, dynamic) = image();
        image.bytes[0x14c..0x150].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
        let arena = Arena::new(leaking());
        assert!(NeededVersions::new(&arena).read(&image, &dynamic).is_err());
    }

    #[test]
    fn entries_that_share_memory_end() {
        let (mut image, dynamic) = image();
        // So many versions of the first file, each four bytes after the one before, which fit if they need no more.
        image.bytes[0x142..0x144].copy_from_slice(&4000u16.to_le_bytes());
        image.bytes.truncate(0x150);
        while image.bytes.len() < 0x150 + 4 * 4004 {
            image.bytes.extend(4u32.to_le_bytes());
        }
        let arena = Arena::new(leaking());
        let result = NeededVersions::new(&arena).read(&image, &dynamic);
        assert_eq!(result, Err(Problem::TableSize { table: Table::Verneed, size: 2 }.into()));
    }
}
