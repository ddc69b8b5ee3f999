//! Properties of every file, whatever its bytes: it loads or is refused in one line, only words that a relocation names
//! are written, and nothing panics.

use std::sync::LazyLock;

use abi::paths::LIBRARIES;
use rtld::base::addr::{Vaddr, to_usize};
use rtld::base::arena::Arena;
use rtld::elf::note::{abi_note, stub};
use rtld::elf::plan::{LoadPlan, Place};
use rtld::elf::symbol::{self, Name};
use rtld::elf::version::{self, NeededVersions, Wanted};
use rtld::elf::{Decode, Rela, Sym, consts, r_sym, r_type, size};
use rtld::error::{Error, Failure};
use rtld::link::file::Mapped;
use rtld::link::namespace::Module;
use rtld::link::peek::needs_libc;
use rtld::link::sealed::Sealed;
use rtld::os::seam::Image;

use super::image::{MemImage, PAGE};
use super::judged::judged;
use super::os::MemOs;
use super::scene::{LOADER, PROGRAM, Scene, map};
use super::{Elf, Hash, sample};

/// Largest object in bytes that can be mapped here. Larger ones are refused for want of memory.
const LARGEST: u64 = 1 << 20;

/// Largest thread-local block in bytes that is filled.
const LARGEST_TLS: u64 = 1 << 20;

/// The loader, `liby.so`, the program and `libx.so`: built once, because a fuzzer starts them often.
static SOUND: LazyLock<[Elf; 4]> =
    LazyLock::new(|| [sample::loader(), sample::liby(), sample::program(), sample::library(Hash::Gnu)]);

/// The broken file of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `libx.so`.
    Library,
    /// The program.
    Program,
}

/// Checks the message of a refusal: one line, of printable characters.
pub fn is_said(error: &Error<'_>) {
    let line = error.to_string();
    assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
}

/// A start with one broken file; the others are sound.
#[must_use]
pub fn scene(role: Role, bytes: &[u8], arena: &'static Arena) -> Scene {
    let mut os = MemOs::new(arena);
    os.largest = LARGEST;
    let [loader, liby, program, libx] = SOUND.each_ref().map(|elf| elf.bytes.as_slice());
    let (program, libx) = match role {
        Role::Library => (program, bytes),
        Role::Program => (bytes, libx),
    };
    for (path, bytes) in [(LOADER, loader), (PROGRAM, program)] {
        os.file(path, bytes);
    }
    for (name, bytes) in [("libx.so", libx), ("liby.so", liby)] {
        os.file(&format!("{LIBRARIES}/{name}"), bytes);
    }
    Scene { os, library_path: None, program_path: Some(PROGRAM), secure: false, arena }
}

/// Runs a whole start and checks it. Returns whether it succeeded.
#[must_use]
pub fn of_start(scene: &Scene) -> bool {
    let started = scene.seal().and_then(|sealed| {
        is_sound(&sealed);
        match sealed.tls.size() {
            size if size <= LARGEST_TLS => sealed.fill_tls(&mut vec![0; to_usize(size)]),
            _ => Ok(()),
        }
    });
    started.inspect_err(is_said).is_ok()
}

/// Checks the memory after a start.
pub fn is_sound(sealed: &Sealed<'_, MemImage>) {
    for (_, module) in sealed.namespace.all() {
        assert!(
            module.image.kept_to_writable_segments(),
            "{}: wrote read-only memory",
            module.path.escape_ascii()
        );
        if let Some(ranges) = relocated(module) {
            let kept = module.image.changed_only_in(ranges.into_iter());
            assert!(kept, "{}: wrote what no relocation names", module.path.escape_ascii());
        }
    }
    for &index in sealed.init_order {
        assert!(index < sealed.namespace.loaded().count(), "module {index} is to be initialised");
    }
}

/// The ranges that a module's relocations write, ascending. `None` if its own tables may have been relocated, and can
/// not be read again.
fn relocated(module: &Module<'_, MemImage>) -> Option<Vec<(Vaddr, Vaddr)>> {
    let (image, dynamic) = (&module.image, &module.dynamic);
    let mut ranges = Vec::new();
    let range = |at: u64, size: u64| (Vaddr(at), Vaddr(at.saturating_add(size)));
    for table in [dynamic.rela, dynamic.jmprel] {
        for at in (0..table.len()).map_while(|index| table.vaddr(index)) {
            let rela = Rela::decode(image.originally(constant(module.image.plan(), at, size::RELA)?, 24)?);
            let size = match r_type(&rela) {
                0 => continue,
                5 => {
                    let at = dynamic.symbols.vaddr(r_sym(&rela))?;
                    Sym::decode(image.originally(constant(module.image.plan(), at, size::SYM)?, 24)?).st_size
                }
                36 => 16,
                _ => 8,
            };
            ranges.push(range(rela.r_offset, size));
        }
    }
    let mut next = 0u64;
    for at in (0..dynamic.relr.len()).map_while(|index| dynamic.relr.vaddr(index)) {
        let word = u64::decode(image.originally(constant(module.image.plan(), at, 8)?, 8)?);
        if word & 1 == 0 {
            ranges.push(range(word, 8));
            next = word.wrapping_add(8);
            continue;
        }
        let bits = (1..64).filter(|bit| word >> bit & 1 != 0);
        ranges.extend(bits.map(|bit| range(next.wrapping_add((bit - 1) * 8), 8)));
        next = next.wrapping_add(63 * 8);
    }
    ranges.sort_by_key(|(start, _)| *start);
    Some(ranges)
}

/// `at`, if it lies outside of writable segments.
fn constant(plan: &LoadPlan<'_>, at: Vaddr, size: usize) -> Option<Vaddr> {
    let segment = plan.segment_of(at, u64::try_from(size).ok()?)?;
    (!segment.protection.write).then_some(at)
}

/// Reads all tables of one file. Returns whether it could be mapped.
#[must_use]
pub fn of_file(bytes: &[u8], arena: &'static Arena) -> bool {
    const PATH: &str = "/opt/file";
    let said = |failure: Failure<'_>| is_said(&failure.of(PATH.as_bytes()));
    let mut os = MemOs::new(arena);
    os.largest = LARGEST;
    os.file(PATH, bytes);
    let _ = judged(&os, arena, PATH.as_bytes());
    match map(&os, arena, PATH) {
        Ok(mapped) => {
            is_within(mapped.image.plan(), bytes.len());
            read_all(&mapped, arena, &said);
            assert!(mapped.image.changed_only_in(std::iter::empty()), "reading has written");
            true
        }
        Err(failure) => {
            said(failure);
            false
        }
    }
}

/// Checks that the segments of a plan lie within the file, ascend and do not overlap.
fn is_within(plan: &LoadPlan<'_>, size: usize) {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    let mut end = plan.span.start;
    for segment in plan.segments() {
        assert!(segment.pages().start >= end, "{segment:x?} lies over another");
        assert!(
            segment.pages().start <= segment.mem_start && segment.mem_end <= segment.pages().end,
            "{segment:x?}"
        );
        assert!(segment.pages().end <= plan.span.end, "{segment:x?} is outside of the span");
        assert!(!(segment.protection.write && segment.protection.execute), "{segment:x?}");
        if !segment.file_pages().is_empty() {
            let last = segment.offset.0 + (segment.data_end.0 - segment.file_pages().start.0);
            assert!(last <= size, "{segment:x?} reaches beyond the end of the file");
            assert!(segment.data_end <= segment.file_pages().end, "{segment:x?}");
        }
        end = segment.pages().end;
    }
    if let Some(range) = plan.relro {
        let whole = Place { vaddr: range.start, size: range.len() };
        assert_eq!(PAGE.offset_in(range.start.0 | range.end.0), 0, "{range:x?}");
        let holds = |pages: rtld::base::addr::PageRange| pages.start <= whole.vaddr && range.end <= pages.end;
        assert!(plan.segments().iter().any(|segment| holds(segment.pages()) && segment.protection.write));
    }
}

/// Reads all that the loader may read of a file.
fn read_all(mapped: &Mapped<MemImage>, scratch: &Arena, said: &dyn Fn(Failure<'_>)) {
    /// Symbols to look at: ELF has no field for the length of a symbol table.
    const MOST: u32 = 1000;
    let Mapped { dynamic, image, .. } = mapped;
    let _ = abi_note(image).map_err(said);
    let _ = stub(image, Vaddr(0x1018));
    let _ = dynamic.require_supported().map_err(said);
    let _ = needs_libc(image, dynamic).map_err(said);
    for tag in [consts::DT_NEEDED, consts::DT_SONAME, consts::DT_RPATH, consts::DT_RUNPATH] {
        for offset in dynamic.values(image, tag) {
            let _ = dynamic.strings.get(image, offset).map_err(said);
        }
    }
    for name in ["x", "data", "local", "chosen", "", "memcpy", "inflate", "_start"] {
        for wanted in [None, Some("X_1"), Some("Y_1")] {
            let name = Name::versioned(name.as_bytes(), wanted.map(str::as_bytes));
            let _ = symbol::lookup(image, dynamic, &name).map_err(said);
        }
    }
    let has = |version: &[u8]| {
        version::defined(image, dynamic, |_, name| dynamic.strings.is(image, name.into(), version)).map(drop)
    };
    let _ = has(b"X_1").map_err(said);
    let _ = version::for_each_needed(image, dynamic, |needed, _| has(needed.version)).map_err(said);
    let scratch = scratch.scratch();
    let mut versions = NeededVersions::new(&scratch);
    let _ = versions.read(image, dynamic).map_err(said);
    let wanted = Wanted::of(image, dynamic, Some(b"X_1"), false).map_err(said).unwrap_or(Wanted::Unknown);
    let count = symbol::count(image, dynamic).map_err(said).unwrap_or(MOST);
    for index in 0..count.min(MOST) {
        let Ok(sym) = dynamic.symbols.get(image, index).map_err(said) else { break };
        let _ = dynamic.strings.get(image, u64::from(sym.st_name)).map_err(said);
        let _ = versions.of(image, dynamic, index).map_err(said);
        let _ = wanted.accepts(image, dynamic, index).map_err(said);
    }
    for array in [dynamic.init_array, dynamic.fini_array] {
        let read = (0..array.len()).filter(|&index| array.get(image, index).is_some()).count();
        assert_eq!(u64::try_from(read), Ok(array.len()), "a table that was checked can not be read");
    }
}

/// Decodes a fuzzer's input: the broken file's role, and its bytes. The first byte gives the role, and whether the rest
/// is the file itself or a list of patches (position in two bytes, length in one, bytes) for one of `sound`.
#[must_use]
pub fn decode(input: &[u8], sound: &[Elf]) -> Option<(Role, Vec<u8>)> {
    let (&[mode, number], mut rest) = input.split_first_chunk()?;
    let role = if mode & 1 == 0 { Role::Library } else { Role::Program };
    if mode & 2 == 0 {
        return Some((role, rest.to_vec()));
    }
    let mut bytes = sound.get(usize::from(number) % sound.len().max(1))?.bytes.clone();
    while let Some((&[low, high, count], after)) = rest.split_first_chunk() {
        let (patch, after) = after.split_at_checked(usize::from(count % 16)).unwrap_or((after, &[]));
        let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len().max(1);
        bytes.iter_mut().skip(at).zip(patch).for_each(|(place, &byte)| *place = byte);
        rest = after;
    }
    Some((role, bytes))
}

#[cfg(test)]
mod tests {
    use super::{Role, decode, of_file, of_start, scene};
    use crate::memory::sample;
    use crate::memory::scene::arena;

    #[test]
    fn samples_are_sound() {
        for (name, elf) in sample::all() {
            assert!(of_file(&elf.bytes, arena()), "{name} by itself");
            let role = if name == "program" { Role::Program } else { Role::Library };
            let sealed = scene(role, &elf.bytes, arena()).seal();
            assert_eq!(sealed.map(drop), Ok(()), "{name} in a start");
            assert!(of_start(&scene(role, &elf.bytes, arena())), "{name}");
        }
    }

    #[test]
    fn inputs_are_files_or_patches() {
        let sound = [sample::liby()];
        assert_eq!(decode(&[1, 0, b'x'], &sound), Some((Role::Program, vec![b'x'])));
        let patched = sample::liby().with(18, &[7, 8]);
        assert_eq!(decode(&[2, 9, 18, 0, 2, 7, 8], &sound), Some((Role::Library, patched.bytes)));
        assert_eq!(decode(&[2], &sound), None);
    }
}
