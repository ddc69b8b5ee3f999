//! Broken files: whatever their bytes, they load or are refused in one line.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rtld::elf::symbol::{Name, lookup};
use rtld::error::Error;
use rtld::link::peek::needs_libc;
use rtld::os::seam::Image;
use tests::machine::is_for_this_machine;
use tests::memory::file::{DATA, TEXT};
use tests::memory::mutation::{Xorshift, mutate};
use tests::memory::property::is_sound;
use tests::memory::sample::library;
use tests::memory::{Elf, ElfBuilder, Hash, MemOs, Scene, Symbol};

use crate::program_needing;

/// Mutants of each file.
const MUTANTS: u64 = 1500;

/// Starts a program that needs `libx.so`, which is `elf`.
fn run(elf: &Elf) -> Result<(), Error<'static>> {
    let program = program_needing(&["libx.so"])
        .symbol(Symbol::undefined("x").weak())
        .symbol(Symbol::undefined("local").kind(6).weak())
        .rela(DATA, 1, "x", 0)
        .rela(DATA + 8, 18, "local", 0);
    let scene = Scene::new(&program)
        .libraries([("liby.so", ElfBuilder::library("liby.so").symbol(Symbol::function("y", TEXT)))])
        .bytes("/lib/slul/libx.so", elf);
    let sealed = scene.seal()?;
    is_sound(&sealed);
    let mut block = vec![0; usize::try_from(sealed.tls.size()).unwrap()];
    sealed.fill_tls(&mut block)
}

/// Checks that `elf` loads or is refused; returns whether it loads. `name` is for the message if it does neither.
fn survives(elf: &Elf, name: &str) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| run(elf)));
    let result = result.unwrap_or_else(|_| panic!("{name}: neither loaded nor refused"));
    if let Err(error) = &result {
        let line = error.to_string();
        assert!(!line.is_empty() && !line.contains(char::is_control), "{name}: {line:?}");
    }
    result.is_ok()
}

fn mutants(hash: Hash, seed: u64) {
    let sound = library(hash);
    assert_eq!(run(&sound), Ok(()));
    let mut random = Xorshift::new(seed);
    let mut loaded = 0;
    for number in 0..MUTANTS {
        let mut elf = sound.clone();
        for _ in 0..=number % 3 {
            mutate(&mut elf.bytes, &mut random);
        }
        loaded += u64::from(survives(&elf, &format!("mutant {number} of seed {seed:#x}")));
    }
    assert!((MUTANTS / 20..MUTANTS * 19 / 20).contains(&loaded), "{loaded} loaded: that tests little");
}

#[test]
fn mutants_with_gnu_hash() {
    mutants(Hash::Gnu, 0x5eed_0001);
}

#[test]
fn mutants_with_sysv_hash() {
    mutants(Hash::SysV, 0x5eed_0002);
}

#[test]
fn cut_at_every_length() {
    let whole = library(Hash::Gnu);
    for length in 0..whole.bytes.len() {
        let cut = Elf { bytes: whole.bytes[..length].to_vec() };
        assert!(!survives(&cut, &format!("the first {length} bytes")), "{length} bytes are not the whole file");
    }
}

#[test]
fn each_byte_in_turn() {
    let whole = library(Hash::Gnu);
    for value in [0, 0xff, 0x80] {
        for position in 0..whole.bytes.len() {
            let elf = whole.clone().with(position, &[value]);
            survives(&elf, &format!("byte {position} = {value:#x}"));
        }
    }
}

#[test]
fn libraries_of_this_machine() {
    let mut seen = 0;
    for (file, symbol) in [("libz.so.1", Some("inflate")), ("libc.so.6", Some("malloc")), ("libm.so.6", None)] {
        let directories = ["/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"];
        // Some of these directories may have the libraries of another machine, such as 32-bit ones.
        let files = directories.iter().filter_map(|directory| fs::read(Path::new(directory).join(file)).ok());
        let Some(bytes) = files.into_iter().find(|bytes| is_for_this_machine(bytes)) else { continue };
        seen += 1;
        let mut scene = Scene::new(&program_needing(&[file]));
        scene.os.file("/lib/slul/real", &bytes);
        let mapped = scene.map("/lib/slul/real").unwrap_or_else(|problem| panic!("{file}: {problem}"));
        let soname = mapped.dynamic.soname.unwrap();
        assert_eq!(mapped.dynamic.strings.get(&mapped.image, soname), Ok(file.as_bytes()));
        if let Some(symbol) = symbol {
            let found = lookup(&mapped.image, &mapped.dynamic, &Name::new(symbol.as_bytes())).unwrap();
            assert!(found.is_some_and(|sym| {
                mapped.image.plan().segment_of(rtld::base::addr::Vaddr(sym.st_value), 1).is_some()
            }));
        }
        assert!(needs_libc(&mapped.image, &mapped.dynamic).unwrap().is_some(), "{file} names a libc");
        drop(mapped);
        scene.os.file(&format!("/lib/slul/{file}"), &bytes);
        let sealed = scene.seal().unwrap();
        assert_eq!(*sealed.natives.libraries, [file.as_bytes()]);
        assert_eq!(scene.os.mapped(), 2, "{file} is native, and stays unmapped");
    }
    assert!(seen > 0, "this machine has none of the libraries that every Linux machine has");
}

#[test]
fn nothing_of_a_refused_start_stays_mapped() {
    let elf = library(Hash::Gnu).with(18, &[0, 0]);
    let scene = Scene::new(&program_needing(&["libx.so"])).bytes("/lib/slul/libx.so", &elf);
    assert!(scene.load().is_err());
    assert!(scene.os.mapped() <= 2);
    assert_eq!(MemOs::default().mapped(), 0);
}
