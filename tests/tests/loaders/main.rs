//! Objects under slulrtld and under glibc's or musl's `ld.so` must end with the same status and print the same lines in
//! the same order. One test for each case and each loader that slulrtld is compared with: `scope/231-sws/musl`.
//!
//! | module | what it does |
//! |---|---|
//! | [`case`] | a case: its objects, and the loaders that must agree on it |
//! | [`workshop`] | cases -> files; the program is linked once for each loader, everything else once |
//! | [`symbolic`] | DT_SYMBOLIC in a linked file |
//! | [`compare`] | runs a case, and compares |
//! | [`scope`], [`search`], [`versions`], [`order`], [`identity`], [`features`] | the matrix |
//! | [`toolchains`] | the same features by other compilers and linkers |
//!
//! Libraries are the same files under all three. The program is the same object file, linked with a start for each
//! loader. slulrtld calls that start itself. Under glibc and musl libc calls it, because libc, not the loader, runs the
//! program's initialisers (glibc), and those of libraries and all finalisers (musl). That libc comes last in the
//! program's DT_NEEDED.
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod case;
mod compare;
mod features;
mod identity;
mod order;
mod scope;
mod search;
mod symbolic;
mod toolchains;
mod versions;
mod workshop;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::stage::Stage;

use crate::case::{Agreement, Case};
use crate::compare::Shared;
use crate::workshop::{Loader, MUSL_LOADER, Workshop};

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let stages: Arc<[Stage]> = Stage::all()?.into();
    let first = stages.first().map(Workshop::new).transpose()?;
    let Some(workshop) = first.map(Arc::new) else { return Ok(ExitCode::FAILURE) };
    let lack = Lack { musl: !Path::new(MUSL_LOADER).exists(), tools: toolchains::missing() };
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut trials = Vec::new();
    for case in cases() {
        ensure!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        if let Some(why) = case.agreement.why_not_all() {
            *reasons.entry(why).or_default() += 1;
        }
        trials.extend(trials_of(case, &workshop, &stages, &lack));
    }
    if !arguments.list {
        for (why, count) in reasons {
            println!("{count} of {} cases: {why}", names.len());
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        println!("{} tests left out: {}", conclusion.num_ignored, lack.text());
    }
    Ok(conclusion.exit_code())
}

/// The whole matrix.
fn cases() -> Vec<Case> {
    let families = [
        scope::cases(),
        search::cases(),
        versions::cases(),
        order::cases(),
        identity::cases(),
        features::cases(),
        toolchains::cases(),
    ];
    families.into_iter().flatten().collect()
}

/// Missing parts of this machine.
struct Lack {
    musl: bool,
    /// Compilers and linkers.
    tools: Vec<&'static str>,
}

impl Lack {
    fn text(&self) -> String {
        let musl = self.musl.then(|| format!("there is no {MUSL_LOADER}"));
        let tools = self.tools.iter().map(|name| format!("there is no {name}"));
        musl.into_iter().chain(tools).collect::<Vec<_>>().join("; ")
    }
}

/// The tests of a case: one for each loader that it is compared with.
fn trials_of(case: Case, workshop: &Arc<Workshop>, stages: &Arc<[Stage]>, lack: &Lack) -> Vec<Trial> {
    let others: &[Loader] = match case.agreement {
        Agreement::Glibc(_) => &[Loader::Glibc],
        Agreement::MuslAlone(_) => &[Loader::Musl],
        Agreement::All | Agreement::GlibcOrder(_) => &[Loader::Glibc, Loader::Musl],
    };
    let unbuildable = toolchains::needs_any(&case, &lack.tools);
    let ignored = |other: &Loader| unbuildable || (*other == Loader::Musl && lack.musl);
    let present: Arc<[Loader]> = others.iter().copied().filter(|other| !ignored(other)).collect();
    let name = case.name.clone();
    let shared = Arc::new(Shared::new(case));
    let trial = |&other: &Loader| {
        let (workshop, stages) = (Arc::clone(workshop), Arc::clone(stages));
        let (shared, present) = (Arc::clone(&shared), Arc::clone(&present));
        let check = move || -> Result<(), Failed> {
            let checked = shared.check(&workshop, &stages, &present, other);
            checked.map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(format!("{name}/{}", other.name()), check).with_ignored_flag(ignored(&other))
    };
    others.iter().map(trial).collect()
}
