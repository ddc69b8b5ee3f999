//! Versions of symbols (LSB, "Symbol Versioning"): the versions that an object needs (DT_VERSYM and DT_VERNEED) and
//! those that it defines (DT_VERDEF). Which definition a reference binds to follows glibc's `check_match`.
#![forbid(unsafe_code)]

use crate::base::addr::{Vaddr, from_usize};
use crate::base::arena::{Arena, List};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::{Decode, Verdef, Vernaux, Verneed, consts};
use crate::error::{Failure, Problem, Table};
use crate::os::seam::Image;

/// The version of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRef<'i> {
    /// File that defines the version, by its name in DT_NEEDED.
    pub file: &'i [u8],
    /// Name of the version.
    pub version: &'i [u8],
}

/// The entries of an object's DT_VERNEED, by the number that DT_VERSYM has for each.
pub struct NeededVersions<'a>(List<'a, Option<(Verneed, Vernaux)>>);

impl<'a> NeededVersions<'a> {
    /// An empty table, before the first [`NeededVersions::read`].
    #[must_use]
    pub const fn new(arena: &'a Arena) -> Self {
        Self(List::new(arena))
    }

    /// Replaces the contents by those of an object.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] or [`Problem::TableSize`] if DT_VERNEED is broken; out of memory.
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

    /// Whether the object needs no version for any symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The version with which the object refers to its symbol `index`; `None` without one.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if the entry of DT_VERSYM is not in readable memory; [`Problem::BadString`] for a name
    /// outside the string table.
    pub fn of<'i>(
        &self,
        image: &'i impl Image,
        dynamic: &DynamicInfo,
        index: u32,
    ) -> Result<Option<VersionRef<'i>>, Failure<'static>> {
        let Some(versym) = dynamic.versym.filter(|_| !self.0.is_empty()) else { return Ok(None) };
        let number = versym_entry(image, versym, index)? & consts::VERSYM_VERSION;
        // A number without an entry is a version that the object defines itself.
        match self.0.get(usize::from(number)) {
            Some(Some((file, aux))) if number > consts::VER_NDX_GLOBAL => {
                version_ref(image, dynamic, file, aux).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The names of an entry of DT_VERNEED.
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

/// The first entry of DT_VERNEED for which `wanted` returns true.
fn find_needed<'p>(
    image: &impl Image,
    dynamic: &DynamicInfo,
    mut wanted: impl FnMut(&Verneed, &Vernaux) -> Result<bool, Failure<'p>>,
) -> Result<Option<(Verneed, Vernaux)>, Failure<'p>> {
    let Some((mut at, files)) = dynamic.verneed else { return Ok(None) };
    let outside = |vaddr| Problem::OutsideImage { table: Table::Verneed, vaddr };
    let mut left = image.file_backed(at).checked_div(from_usize(Vernaux::SIZE)).unwrap_or(0);
    // Both loops end by the counts that the tables state, or at an offset of zero.
    for _ in 0..files {
        let file: Verneed = image.get(at).ok_or(outside(at))?;
        let mut aux_at = at.checked_add(u64::from(file.vn_aux)).ok_or(outside(at))?;
        for _ in 0..file.vn_cnt {
            // Without this limit, entries that overlap could keep the loops busy almost for ever.
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

/// Whether a definition serves a reference, by their versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It serves the reference.
    Bind,
    /// It serves the reference if no other definition of the object does.
    Otherwise,
    /// It does not serve the reference.
    Refuse,
}

/// Largest version index to which a reference without a version binds at once: 1 is global, 2 the object's first
/// version.
pub const FIRST_VERSION: u16 = 2;

/// The version of a reference, in terms of one object's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The object has no versions: each of its definitions serves every reference.
    Any,
    /// A reference without a version: it binds to a definition of an index up to this, or else to one that is not
    /// hidden.
    UpTo(u16),
    /// A version that the object defines, by its index. Definitions without a version serve as well.
    Number(u16),
    /// A version that the object does not define.
    Unknown,
}

impl Wanted {
    /// Translates the version of a reference into the object's terms. Without a version, the reference means the first
    /// version, or with `newest` the default one, which is not hidden.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] or [`Problem::BadString`] if DT_VERDEF is broken.
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

    /// Whether the object's symbol `index` serves the reference.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if the entry of DT_VERSYM is not in readable memory.
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

/// An entry of DT_VERSYM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolVersion {
    /// Version index.
    pub number: u16,
    /// Whether the definition serves only references with that version.
    pub hidden: bool,
}

/// The version of symbol `index`; `None` in an object without DT_VERSYM.
///
/// # Errors
/// [`Problem::OutsideImage`] if the entry is not in readable memory.
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

/// The first version that the object defines and for which `wanted` returns true, given the version index and the
/// offset of the name in the string table. The base version, which names the file, is left out.
///
/// # Errors
/// [`Problem::OutsideImage`] if an entry of DT_VERDEF is not in readable memory; the errors of `wanted`.
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

/// Calls `visit` for each version that the object needs, with whether its absence is harmless (VER_FLG_WEAK).
///
/// # Errors
/// [`Problem::OutsideImage`], [`Problem::TableSize`] or [`Problem::BadString`] if DT_VERNEED is broken; the errors of
/// `visit`.
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
