//! A file is judged by a few of its bytes as it would be if it were mapped, whatever is in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use abi::libcs::Libc;
use abi::note::{NOTE_OWNER, NT_SLUL_ABI};
use rtld::elf::consts::{
    DT_GNU_HASH, DT_NEEDED, DT_RUNPATH, DT_STRSZ, DT_STRTAB, DT_SYMTAB, PT_DYNAMIC, PT_LOAD, PT_NOTE,
};
use rtld::os::sys::Linux;
use tests::memory::file::Elf;
use tests::memory::judged::{Judged, World, judged};
use tests::memory::mutation::{Xorshift, mutate, mutate_within};
use tests::memory::scene::arena;
use tests::memory::{ElfBuilder, Hash, MemOs, Scene, Symbol};

use crate::program_needing;

const PATH: &str = "/opt/lib/libx.so";
const GNU: World = World::Native(Libc::Gnu);

/// Largest object of a mutant, in bytes.
const LARGEST: u64 = 1 << 20;

/// A file by itself.
fn judge(bytes: &[u8]) -> Judged {
    let mut os = MemOs::new(arena());
    os.largest = LARGEST;
    os.file(PATH, bytes);
    judged(&os, arena(), PATH.as_bytes()).unwrap()
}

/// A library that names a libc after something else.
fn native(hash: Hash) -> ElfBuilder {
    ElfBuilder::library("libx.so")
        .needs("liby.so")
        .needs("libm.so.6")
        .needs("libc.so.6")
        .hash(hash)
        .symbol(Symbol::function("x", tests::memory::file::TEXT))
        .symbol(Symbol::undefined("puts").kind(2).version("libc.so.6", "GLIBC_2.2.5"))
}

/// A native library, described by where everything is, in one segment that is the whole file.
struct Layout {
    /// Difference of address and position.
    bias: u64,
    phdrs: u64,
    /// Position and owner of a note of the ABI's type.
    note: Option<(u64, &'static [u8])>,
    dynamic: u64,
    /// How many entries come before those that matter.
    padding: u64,
    strings: u64,
    strings_size: u64,
    /// Positions within DT_STRTAB of the names that are needed.
    needed: Vec<(u64, &'static str)>,
    gnu_hash: u64,
    size: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            bias: 0,
            phdrs: 64,
            note: None,
            dynamic: 0xb000,
            padding: 0,
            strings: 0x400,
            strings_size: 0x100,
            needed: vec![(1, "liby.so"), (9, "libc.so.6")],
            gnu_hash: 0x300,
            size: 0xc000,
        }
    }
}

impl Layout {
    fn file(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; usize::try_from(self.size).unwrap()];
        let mut put = |at: u64, part: &[u8]| {
            let at = usize::try_from(at).unwrap();
            bytes[at..at + part.len()].copy_from_slice(part);
        };
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let count: u16 = if self.note.is_some() { 3 } else { 2 };
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &[3, 0, 62, 0, 1]);
        put(32, &self.phdrs.to_le_bytes());
        put(54, &[56, 0]);
        put(56, &count.to_le_bytes());
        let phdr = |kind: u32, at: u64, size: u64| {
            let vaddr = at + self.bias;
            let flags = [kind.to_le_bytes(), 4u32.to_le_bytes()].concat();
            [flags, words(&[at, vaddr, vaddr, size, size, 0x1000])].concat()
        };
        let entry = |tag: u64, value: u64| (tag, value);
        let mut entries: Vec<(u64, u64)> = (0..self.padding).map(|number| entry(0x6fff_0000, number)).collect();
        entries.extend(self.needed.iter().map(|&(at, _)| entry(DT_NEEDED, at)));
        entries.extend([
            entry(DT_STRTAB, self.strings + self.bias),
            entry(DT_STRSZ, self.strings_size),
            entry(DT_SYMTAB, self.bias + 0x800),
            entry(DT_GNU_HASH, self.gnu_hash + self.bias),
            (0, 0),
        ]);
        let section = entries.iter().flat_map(|&(tag, value)| words(&[tag, value])).collect::<Vec<u8>>();
        put(self.phdrs, &phdr(PT_LOAD, 0, self.size));
        put(self.phdrs + 56, &phdr(PT_DYNAMIC, self.dynamic, section.len() as u64));
        if let Some((at, owner)) = self.note {
            put(self.phdrs + 112, &phdr(PT_NOTE, at, 12 + 8 + 16));
            put(at, &[5u32, 16, NT_SLUL_ABI].map(u32::to_le_bytes).concat());
            put(at + 12, owner);
        }
        put(self.dynamic, &section);
        put(self.gnu_hash, &[1u32, 1, 1, 0].map(u32::to_le_bytes).concat());
        for &(at, name) in &self.needed {
            put(self.strings + at, name.as_bytes());
        }
        bytes
    }

    fn judge(&self) -> Judged {
        judge(&self.file())
    }
}

const fn unmapped(reads: usize) -> Judged {
    Judged { world: GNU, reads, mapped: false }
}

const fn mapped(world: World, reads: usize) -> Judged {
    Judged { world, reads, mapped: true }
}

#[test]
fn two_reads_tell_where_the_strings_are_near_the_start() {
    assert_eq!(Layout::default().judge(), unmapped(2));
    assert_eq!(Layout { bias: 0x7000, ..Layout::default() }.judge(), unmapped(2), "elsewhere in memory");
    assert_eq!(Layout { padding: 40, ..Layout::default() }.judge(), unmapped(2), "a long dynamic section");
    assert_eq!(Layout { dynamic: 0x500, ..Layout::default() }.judge(), unmapped(1), "all of it at the start");
    assert_eq!(Layout { note: Some((0x200, b"GNU\0\0\0\0\0")), ..Layout::default() }.judge(), unmapped(2));
}

#[test]
fn what_lies_apart_takes_a_read_each() {
    let far = Layout { strings: 0x5003, strings_size: 0x5000, ..Layout::default() };
    assert_eq!(far.judge(), unmapped(3), "a large string table, at an odd position");
    let hash = Layout { gnu_hash: 0x7001, ..Layout::default() };
    assert_eq!(hash.judge(), unmapped(3), "DT_GNU_HASH after the strings");
    assert_eq!(Layout { strings: 0x7100, gnu_hash: 0x7010, ..Layout::default() }.judge(), unmapped(3));
    assert_eq!(Layout { note: Some((0x9000, b"GNU\0\0\0\0\0")), ..Layout::default() }.judge(), unmapped(3));
    assert_eq!(Layout { phdrs: 0xa000, ..Layout::default() }.judge(), unmapped(3), "patchelf moves them");
}

#[test]
fn what_lies_all_over_the_file_is_mapped() {
    let all_over =
        Layout { strings: 0x3000, gnu_hash: 0x7000, note: Some((0x9000, b"GNU\0\0\0\0\0")), ..Layout::default() };
    assert_eq!(all_over.judge(), mapped(GNU, 4));
    let needed = vec![(1, "liby.so"), (0x1000, "libz.so"), (0x2000, "libw.so"), (0x3000, "libc.so.6")];
    let names = Layout { strings: 0x3000, strings_size: 0x4000, needed, ..Layout::default() };
    assert_eq!(names.judge(), mapped(GNU, 4));
    assert_eq!(Layout { padding: 100, ..Layout::default() }.judge(), mapped(GNU, 1), "too long a section");
    let at_the_end = Layout { size: 0xb800, strings: 0xb7f7, strings_size: 9, ..Layout::default() };
    let needed = vec![(0, "libc.so.6")];
    assert_eq!(Layout { needed, ..at_the_end }.judge().world, World::Neither, "no NUL before the file's end");
}

#[test]
fn names_of_any_length() {
    let long: &'static str = Box::leak("l".repeat(3000).into_boxed_str());
    let needed = vec![(1, long), (4000, "libc.so.6")];
    let layout = Layout { strings: 0x3000, strings_size: 0x2000, needed, ..Layout::default() };
    assert_eq!(layout.judge().world, GNU);
    let sound = Layout::default();
    let first = usize::try_from(sound.dynamic).unwrap() + 8;
    let outside = Elf { bytes: sound.file() }.with(first, &0xffff_u64.to_le_bytes());
    assert_eq!(judge(&outside.bytes).world, World::Neither, "a name that is nowhere");
}

#[test]
fn the_abi_note_decides_before_any_name() {
    assert_eq!(NOTE_OWNER, b"SLUL\0");
    let owner = b"SLUL\0\0\0\0";
    let ours = Layout { note: Some((0x200, owner)), ..Layout::default() };
    assert_eq!(ours.judge(), mapped(World::Ours, 1), "it is going to be mapped anyway");
    let behind = Layout { note: Some((0x9000, owner)), ..Layout::default() };
    assert_eq!(behind.judge().world, World::Ours);
}

#[test]
fn libc_free_libraries_are_mapped() {
    let needed = vec![(1, "liby.so"), (9, "libnative.so")];
    assert_eq!(Layout { needed, ..Layout::default() }.judge(), mapped(World::Ours, 2));
}

#[test]
fn mutants_are_judged_as_if_they_were_mapped() {
    const MUTANTS: u64 = 500;
    let samples = [
        native(Hash::Gnu).build(),
        native(Hash::SysV).build(),
        native(Hash::Gnu).note(1, 0, 1).build(),
        tests::memory::sample::library(Hash::Gnu),
        Elf { bytes: Layout::default().file() },
        Elf { bytes: Layout { note: Some((0x9000, b"GNU\0\0\0\0\0")), ..Layout::default() }.file() },
    ];
    let (mut worlds, mut fallbacks) = ([0; 3], 0);
    for (seed, sound) in (1..).zip(&samples) {
        let mut random = Xorshift::new(seed * 0x9e37_79b9);
        for number in 0..MUTANTS {
            let mut bytes = sound.bytes.clone();
            // The zeros of a large file are not worth breaking.
            let end = bytes.len();
            let places = [(0, end.min(0x900)), (end.saturating_sub(0x1000), end)];
            for _ in 0..=number % 3 {
                match number % 2 {
                    0 => mutate(&mut bytes, &mut random),
                    _ => mutate_within(&mut bytes, &places, &mut random),
                }
            }
            let judged = judge(&bytes);
            worlds[match judged.world {
                World::Ours => 0,
                World::Native(_) => 1,
                World::Neither => 2,
            }] += 1;
            fallbacks += u64::from(judged.mapped && judged.world != World::Ours);
        }
    }
    let all = MUTANTS * samples.len() as u64;
    assert!(worlds.iter().all(|&count| count > all / 20), "{worlds:?}: that tests little");
    assert!((1..all / 10).contains(&fallbacks), "{fallbacks} of {all} were mapped for an answer");
}

#[test]
fn each_byte_in_turn_and_each_length() {
    let whole = native(Hash::Gnu).build();
    for position in 0..whole.bytes.len() {
        for value in [0, 0xff, 0x80] {
            judge(&whole.clone().with(position, &[value]).bytes);
        }
        assert_eq!(judge(&whole.bytes[..position]).world, World::Neither, "the first {position} bytes");
    }
}

#[test]
fn libraries_of_this_machine_are_judged_as_if_they_were_mapped() {
    let mut paths = Vec::new();
    for directory in ["/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib"] {
        collect(Path::new(directory), &mut paths);
    }
    let mut by_reads = [0u32; 5];
    let mut fallbacks = 0;
    let mut files: Vec<_> = paths.iter().filter_map(|path| Some((identity(path)?, path))).collect();
    files.sort();
    files.dedup_by_key(|(identity, _)| *identity);
    for (_, path) in files {
        let Ok(Judged { world: World::Native(_), reads, mapped }) =
            judged(&Linux, arena(), path.as_os_str().as_encoded_bytes())
        else {
            continue;
        };
        by_reads[reads] += 1;
        fallbacks += u32::from(mapped);
    }
    let natives: u32 = by_reads.iter().sum();
    println!("{natives} native libraries by the number of reads: {by_reads:?}; {fallbacks} were mapped");
    assert!(natives > 0, "this machine has no native library");
    assert!(fallbacks * 20 <= natives, "{fallbacks} of {natives} were mapped for an answer");
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
}

/// Paths that may be libraries', below a directory.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let kind = entry.file_type();
        if kind.is_ok_and(|kind| kind.is_dir()) {
            collect(&path, paths);
        } else if path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().windows(3).any(|part| part == b".so"))
        {
            paths.push(path);
        }
    }
}

/// How many objects a start maps besides the program and the loader, all of whose libraries are native.
fn mapped_by_start(names: &[&str], needs: &[&str]) -> usize {
    let program = program_needing(needs).string(DT_RUNPATH, "/opt/lib");
    let scene = names.iter().fold(Scene::new(&program), |scene, name| {
        scene.bytes(&format!("/opt/lib/{name}"), &Elf { bytes: Layout::default().file() })
    });
    let sealed = scene.seal().unwrap();
    assert_eq!(sealed.natives.told, Some((&b"/opt/lib/liba.so"[..], Libc::Gnu)));
    let own = sealed.namespace.all().count();
    assert_eq!(scene.os.mapped(), own, "nothing else stays mapped");
    scene.os.reserved() - own
}

#[test]
fn a_start_maps_no_native_library() {
    let names = ["liba.so", "libb.so", "libc0.so"];
    assert_eq!(mapped_by_start(&names, &["liba.so", "libb.so", "libc0.so", "libc.so.6"]), 0);
    assert_eq!(mapped_by_start(&names, &names), 1, "the first, where nothing has named a libc before");
}
