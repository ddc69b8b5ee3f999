//! The fuzzer's properties over files with random faults, for machines without a fuzzer; and the fuzzer's seeds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use libtest_mimic::{Failed, Trial};
use tests::memory::mutation::{Xorshift, mutate, mutate_within};
use tests::memory::property::{Role, of_file, of_start, scene};
use tests::memory::sample;
use tests::memory::scene::arena;
use tests::workdir::Workdir;

use crate::children::child as run_child;
use crate::objects::{GLIBC, Objects, Which};

/// Files of one child: the loader's allocations stay until it ends.
const PART: u64 = 2000;

/// The seed of the first part.
const SEED: u64 = 0xf022;

/// One part, as a test.
pub(crate) fn trials() -> Vec<Trial> {
    let run = || -> Result<(), Failed> {
        run_child(&["child:generate", &SEED.to_string(), &PART.to_string()])?;
        Ok(())
    };
    vec![Trial::test("generator/properties", run)]
}

/// Runs parts one after the other until the time is over.
pub(crate) fn run_for(seconds: u64) -> Result<()> {
    let start = Instant::now();
    let mut parts = 0;
    while parts == 0 || start.elapsed() < Duration::from_secs(seconds) {
        run_child(&["child:generate", &(SEED + parts).to_string(), &PART.to_string()])?;
        parts += 1;
    }
    println!("{} files in {} s, no finding", parts * PART, start.elapsed().as_secs());
    Ok(())
}

/// Checks the properties over `count` files.
pub(crate) fn child(seed: u64, count: u64) {
    let samples = sample::all();
    let mut random = Xorshift::new(seed);
    let mut loaded = 0;
    for number in 0..count {
        let (name, sound) = &samples[random.below(samples.len())];
        let mut bytes = sound.bytes.clone();
        for _ in 0..=random.below(6) {
            match random.below(3) {
                0 => mutate(&mut bytes, &mut random),
                _ => mutate_within(&mut bytes, &[(0, sound.bytes.len())], &mut random),
            }
        }
        println!("{name}, seed {seed:#x}, file {number}");
        let role = if *name == "program" { Role::Program } else { Role::Library };
        let _ = of_file(&bytes, arena());
        loaded += u64::from(of_start(&scene(role, &bytes, arena())));
    }
    assert!((count / 20..count * 19 / 20).contains(&loaded), "{loaded} of {count} loaded: that tests little");
}

/// Writes the fuzzer's seeds: files for the target `file`, encoded inputs for the target `start`.
pub(crate) fn seeds(directory: &Path) -> Result<()> {
    /// The first byte of an input: a library or a program; the file itself or patches.
    const PROGRAM: u8 = 1;
    const PATCHES: u8 = 2;
    let mut files: Vec<(String, Vec<u8>)> =
        sample::all().into_iter().map(|(name, elf)| (name.to_owned(), elf.bytes)).collect();
    let samples = u8::try_from(files.len())?;
    let work = Workdir::new()?;
    let objects = Objects::build(work.path(), Path::new(GLIBC))?;
    for which in [Which::Library, Which::Executable] {
        files.push((which.name().to_owned(), objects.of(which).bytes.clone()));
    }
    for stage in tests::stage::Stage::all().unwrap_or_default() {
        // Files of the debug loader have megabytes of symbols.
        if stage.profile == "release" {
            files.push(("loader".to_owned(), fs::read(stage.loader())?));
        }
    }
    let (of_file, of_start) = (directory.join("file"), directory.join("start"));
    for directory in [&of_file, &of_start] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    for (name, bytes) in &files {
        fs::write(of_file.join(name), bytes)?;
        for mode in [0, PROGRAM] {
            fs::write(of_start.join(format!("{name}-{mode}")), [&[mode, 0], bytes.as_slice()].concat())?;
        }
    }
    for number in 0..samples {
        for mode in [PATCHES, PATCHES | PROGRAM] {
            fs::write(of_start.join(format!("patches-{number}-{mode}")), [mode, number, 56, 0, 1, 8])?;
        }
    }
    Ok(())
}
