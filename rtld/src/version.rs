//! Versions of symbols (LSB, "Symbol Versioning"): which an object asks for, by DT_VERSYM and DT_VERNEED, and which
//! it has, by DT_VERDEF. What binds to what follows glibc's `check_match`.
#![forbid(unsafe_code)]

use crate::addr::Vaddr;
use crate::dynamic::DynamicInfo;
use crate::elf::{Verdef, Vernaux, Verneed, consts};
use crate::error::{Problem, Table};
use crate::seam::Image;

/// A version as a reference names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRef<'i> {
    /// File that is to define it, as in DT_NEEDED.
    pub file: &'i [u8],
    /// Name of the version.
    pub version: &'i [u8],
}

/// The version that symbol `index` is referred to with, if any.
pub fn needed_version<'i>(
    image: &'i impl Image,
    dynamic: &DynamicInfo,
    index: u32,
) -> Result<Option<VersionRef<'i>>, Problem<'static>> {
    let (Some(versym), Some(_)) = (dynamic.versym, dynamic.verneed) else { return Ok(None) };
    let wanted = versym_entry(image, versym, index)? & consts::VERSYM_VERSION;
    if wanted <= consts::VER_NDX_GLOBAL {
        return Ok(None);
    }
    let asked = |_: &Verneed, aux: &Vernaux| Ok(aux.vna_other & consts::VERSYM_VERSION == wanted);
    match find_needed(image, dynamic, asked)? {
        Some((file, aux)) => version_ref(image, dynamic, &file, &aux).map(Some),
        // A version that the object defines itself.
        None => Ok(None),
    }
}

/// The names behind an entry of DT_VERNEED.
fn version_ref<'i>(
    image: &'i impl Image,
    dynamic: &DynamicInfo,
    file: &Verneed,
    aux: &Vernaux,
) -> Result<VersionRef<'i>, Problem<'static>> {
    let version = dynamic.strings.get(image, u64::from(aux.vna_name))?;
    let file = dynamic.strings.get(image, u64::from(file.vn_file))?;
    Ok(VersionRef { file, version })
}

/// The first entry of DT_VERNEED that `wanted` says yes to.
fn find_needed<'p>(
    image: &impl Image,
    dynamic: &DynamicInfo,
    mut wanted: impl FnMut(&Verneed, &Vernaux) -> Result<bool, Problem<'p>>,
) -> Result<Option<(Verneed, Vernaux)>, Problem<'p>> {
    let Some((mut at, files)) = dynamic.verneed else { return Ok(None) };
    let outside = |vaddr| Problem::OutsideImage { table: Table::Verneed, vaddr };
    // Both loops end by the counts that the tables state; offsets of zero end them sooner.
    for _ in 0..files {
        let file: Verneed = image.get(at).ok_or(outside(at))?;
        let mut aux_at = at.checked_add(u64::from(file.vn_aux)).ok_or(outside(at))?;
        for _ in 0..file.vn_cnt {
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
    /// It is, unless the object has another one like it.
    IfOnly,
    /// It is not.
    Refuse,
}

/// Largest index of what a reference without a version binds to at once: global, and the object's first version.
const FIRST_VERSION: u16 = 2;

/// Whether symbol `index` of an object serves a reference with that version, or with none: with none, the object's
/// first version, or the `newest`, which is the one that is not hidden.
pub fn accepts(
    image: &impl Image,
    dynamic: &DynamicInfo,
    index: u32,
    version: Option<&[u8]>,
    newest: bool,
) -> Result<Acceptance, Problem<'static>> {
    // An object without versions serves every reference.
    let Some(versym) = dynamic.versym else { return Ok(Acceptance::Bind) };
    let entry = versym_entry(image, versym, index)?;
    let (number, hidden) = (entry & consts::VERSYM_VERSION, entry & !consts::VERSYM_VERSION != 0);
    let Some(version) = version else {
        let first = if newest { consts::VER_NDX_GLOBAL } else { FIRST_VERSION };
        return Ok(match (number <= first, hidden) {
            (true, _) => Acceptance::Bind,
            (false, false) => Acceptance::IfOnly,
            (false, true) => Acceptance::Refuse,
        });
    };
    let serves = match definition(image, dynamic, |found, _| found == number)? {
        Some(name) => dynamic.strings.get(image, u64::from(name))? == version,
        // A definition without a version in an object that has some.
        None => !hidden,
    };
    Ok(if serves { Acceptance::Bind } else { Acceptance::Refuse })
}

fn versym_entry(image: &impl Image, versym: Vaddr, index: u32) -> Result<u16, Problem<'static>> {
    let entry = versym.checked_add(u64::from(index).wrapping_mul(2));
    let outside = Problem::OutsideImage { table: Table::Versym, vaddr: versym };
    entry.and_then(|vaddr| image.get::<u16>(vaddr)).ok_or(outside)
}

/// The name, in the string table, of the first version that the object defines and `wanted` says yes to, given
/// its index and name. The base version, which names the file, is none.
fn definition(
    image: &impl Image,
    dynamic: &DynamicInfo,
    wanted: impl Fn(u16, u32) -> bool,
) -> Result<Option<u32>, Problem<'static>> {
    let Some((mut at, count)) = dynamic.verdef else { return Ok(None) };
    let outside = |vaddr| Problem::OutsideImage { table: Table::Verdef, vaddr };
    for _ in 0..count {
        let entry: Verdef = image.get(at).ok_or(outside(at))?;
        let aux = at.checked_add(u64::from(entry.vd_aux)).ok_or(outside(at))?;
        // The first Verdaux names the version itself, the others those that it builds on.
        let name = image.get::<u32>(aux).ok_or(outside(aux))?;
        if entry.vd_flags & consts::VER_FLG_BASE == 0 && wanted(entry.vd_ndx & consts::VERSYM_VERSION, name) {
            return Ok(Some(name));
        }
        if entry.vd_next == 0 {
            break;
        }
        at = at.checked_add(u64::from(entry.vd_next)).ok_or(outside(at))?;
    }
    Ok(None)
}

/// Whether the object defines a version of that name. One that defines no versions at all is taken to, as by musl: the
/// reference was linked when it had some. glibc warns, and then ends the process at the first lookup in it.
pub fn defines(image: &impl Image, dynamic: &DynamicInfo, version: &[u8]) -> Result<bool, Problem<'static>> {
    if dynamic.verdef.is_none() {
        return Ok(true);
    }
    let named = |name: u32| dynamic.strings.get(image, u64::from(name)) == Ok(version);
    definition(image, dynamic, |_, name| named(name)).map(|found| found.is_some())
}

/// Calls `visit` for each version that the object needs, with whether it can do without.
pub fn for_each_needed<'i, 'p>(
    image: &'i impl Image,
    dynamic: &DynamicInfo,
    mut visit: impl FnMut(VersionRef<'i>, bool) -> Result<(), Problem<'p>>,
) -> Result<(), Problem<'p>> {
    let all = |file: &Verneed, aux: &Vernaux| {
        let needed = version_ref(image, dynamic, file, aux)?;
        visit(needed, aux.vna_flags & consts::VER_FLG_WEAK != 0).map(|()| false)
    };
    find_needed(image, dynamic, all).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{VersionRef, needed_version};
    use crate::addr::Vaddr;
    use crate::dynamic::DynamicInfo;
    use crate::elf::consts;
    use crate::plan::Place;
    use crate::testing::Bytes;
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
        assert_eq!(needed_version(&image, &dynamic, 0), Ok(None));
        let one = VersionRef { file: b"one.so", version: b"V1" };
        assert_eq!(needed_version(&image, &dynamic, 1), Ok(Some(one)));
        let two = VersionRef { file: b"two.so", version: b"V2" };
        assert_eq!(needed_version(&image, &dynamic, 2), Ok(Some(two)));
    }

    #[test]
    fn a_chain_out_of_the_image_is_an_error() {
        let (mut image, dynamic) = image();
        image.bytes[0x14c..0x150].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
        assert!(needed_version(&image, &dynamic, 2).is_err());
    }
}
