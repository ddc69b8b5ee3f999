//! Mutants of a library and of an executable, run by the staged loaders.
//!
//! Mutations never hit code. Sound code may still fail on broken data, or be entered at a wrong address. Such a crash
//! is the program's; the address of the crash distinguishes it from one of the loader.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use tests::damage::install;
use tests::launch::User;
use tests::memory::mutation::{Xorshift, mutate_within};
use tests::stage::{LOADER, Stage};
use tests::workdir::Workdir;

use crate::children::write;
use crate::figures::Figures;
use crate::objects::{GLIBC, Objects, Which};
use crate::traced::{self, Loader, Run};

/// Variable with the number of mutants of each object; [`FEW`] by default.
const COUNT: &str = "SLUL_MUTANTS";

/// Variable with the name of one mutant, to be run by itself; with SLUL_KEEP its directory stays.
const ONE: &str = "SLUL_MUTANT";

/// Mutants in a short run.
const FEW: u64 = 200;

/// Longest time of a mutant.
const LIMIT: Duration = Duration::from_secs(5);

/// A test for each object and loader.
pub(crate) fn trials(stages: &[Stage]) -> Result<Vec<Trial>> {
    let count = match env::var(COUNT) {
        Ok(count) => count.parse().with_context(|| format!("{COUNT}={count}"))?,
        Err(_) => FEW,
    };
    let mut trials = Vec::new();
    for stage in stages {
        for which in [Which::Library, Which::Executable] {
            let name = format!("real/{}/{}", which.name(), stage.profile);
            let loader = stage.loader();
            trials.push(Trial::test(name.clone(), move || run(&name, which, &loader, count)));
        }
    }
    // glibc's results with the same mutants, for comparison, if many are asked for. They are printed, not checked.
    if env::var_os(COUNT).is_some() && Path::new(GLIBC).exists() {
        for which in [Which::Library, Which::Executable] {
            let name = format!("real/{}/glibc", which.name());
            trials.push(Trial::test(name.clone(), move || compare(&name, which, count)));
        }
    }
    Ok(trials)
}

/// A directory with everything that a mutant needs.
pub(crate) struct Ground {
    work: Workdir,
    pub(crate) objects: Objects,
    user: User,
    loader: Loader,
    /// Whether the loader is executed by its own name, not by PT_INTERP.
    explicit: bool,
}

impl Ground {
    pub(crate) fn new(loader: Option<&Path>) -> Result<Self> {
        let work = Workdir::new()?;
        let place = work.path().join(LOADER);
        let interpreter = if loader.is_some() { place.as_path() } else { Path::new(GLIBC) };
        let objects = Objects::build(work.path(), interpreter)?;
        if let Some(loader) = loader {
            install(loader, &place)?;
        }
        work.open_to_all()?;
        let user = *User::all()?.last().context("nobody to run as")?;
        let loader = Loader::new(interpreter)?;
        Ok(Self { work, objects, user, loader, explicit: false })
    }

    pub(crate) fn run(&self, which: Which, bytes: &[u8]) -> Result<Run> {
        write(&self.work.path().join(which.file()), bytes)?;
        let program = self.work.path().join(Which::Executable.file());
        let program = program.to_str().context("a path that is not UTF-8")?;
        let loader = self.loader.path.to_str().context("a path that is not UTF-8")?;
        let words: &[&str] = if self.explicit { &[loader, program] } else { &[program] };
        traced::run(self.user, words, &self.loader, LIMIT)
    }

    fn mutants(&self, name: &str, which: Which, count: u64) -> Result<Figures> {
        let sound = self.objects.of(which);
        let mut figures = Figures::default();
        figures.take_in("sound", &self.run(which, &sound.bytes)?);
        ensure!(figures.as_before == 1, "the sound one: {figures}\n{:?}", self.run(which, &sound.bytes)?);
        let mut figures = Figures::default();
        let one: Option<u64> = env::var(ONE).ok().and_then(|number| number.parse().ok());
        for number in one.map_or(1..=count, |one| one..=one) {
            // A generator for each mutant, so that one can be run again without the others.
            let mut random = Xorshift::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(which as u8));
            let mut bytes = sound.bytes.clone();
            for _ in 0..=number % 3 {
                mutate_within(&mut bytes, &sound.places, &mut random);
            }
            let name = format!("mutant {number} in {}", self.work.path().display());
            figures.take_in(&name, &self.run(which, &bytes)?);
        }
        println!("{name}: {figures}");
        Ok(figures)
    }
}

fn run(name: &str, which: Which, loader: &Path, count: u64) -> Result<(), Failed> {
    let figures = Ground::new(Some(loader))?.mutants(name, which, count)?;
    if !figures.faults.is_empty() {
        return Err(format!("{figures}\n{}", figures.faults.join("\n")).into());
    }
    // Otherwise the mutations are too weak, or so strong that the loader refuses all files at once.
    let interesting = figures.refused * 10 > count && figures.as_before * 10 > count;
    interesting.then_some(()).ok_or_else(|| format!("{figures}: that tests little").into())
}

fn compare(name: &str, which: Which, count: u64) -> Result<(), Failed> {
    let ground = Ground { explicit: which == Which::Executable, ..Ground::new(None)? };
    ground.mutants(name, which, count)?;
    Ok(())
}
