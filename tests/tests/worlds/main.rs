//! One process, two worlds: a source runs under slulrtld, lazily and eagerly, and as an ordinary dynamic executable
//! with crt0. Status and lines must be the same, in the same order. One test for each case and libc:
//! `exit/quick_exit/musl`.
//!
//! | module | what it does |
//! |---|---|
//! | [`case`] | a case: its files, and the worlds that it is run in |
//! | [`workshop`] | cases -> files; the program is compiled once and linked twice, everything else once |
//! | [`compare`] | runs a case in each world, and compares |
//! | [`exit`], [`binding`], [`data`], [`both_ways`], [`locals`], [`unwinding`], [`opening`], [`environment`] | the cases |
//! | [`absent`] | libc cannot be brought in |
//! | [`storm`] | signal handlers while libc comes |
//!
//! Under slulrtld the program has no start files except `start_slulrtld.c`, which calls `main`.
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod absent;
mod binding;
mod both_ways;
mod case;
mod compare;
mod data;
mod environment;
mod exit;
mod known;
mod locals;
mod opening;
mod storm;
mod unwinding;
mod workshop;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::stage::Stage;

use crate::case::{Case, Libc, Linker};
use crate::workshop::Workshop;

/// musl's loader, which is its libc.
const MUSL_LOADER: &str = abi::libcs::Libc::Musl.interpreter();

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let stages: Arc<[Stage]> = Stage::all()?.into();
    let Some(workshop) = stages.first().map(Workshop::new).transpose()?.map(Arc::new) else {
        return Ok(ExitCode::FAILURE);
    };
    let machine = Machine::look();
    let (mut names, mut reasons, mut trials) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for case in cases() {
        ensure!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        let case = Arc::new(case);
        for libc in Libc::ALL {
            if libc == Libc::Musl && case.gnu_alone.is_some() {
                continue;
            }
            let lacks = machine.lacks(&case, libc);
            let (case, stages, workshop) = (Arc::clone(&case), Arc::clone(&stages), Arc::clone(&workshop));
            let name = format!("{}/{}", case.name, libc.name());
            let difference = known::difference(&name);
            let check = move || -> Result<(), Failed> {
                match (compare::check(&case, libc, &workshop, &stages), difference) {
                    (Err(_), Some(_)) => Ok(()),
                    (Ok(()), Some(why)) => {
                        Err(Failed::from(format!("the worlds agree, but were known to differ: {why}")))
                    }
                    (checked, None) => checked.map_err(|error| Failed::from(format!("{error:#}"))),
                }
            };
            trials.push(Trial::test(name, check).with_ignored_flag(!lacks.is_empty()));
            reasons.extend(lacks);
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        println!("{} tests left out: {reasons}", conclusion.num_ignored);
    }
    known::print();
    Ok(conclusion.exit_code())
}

fn cases() -> Vec<Case> {
    let families = [
        exit::cases(),
        binding::cases(),
        data::cases(),
        both_ways::cases(),
        locals::cases(),
        unwinding::cases(),
        opening::cases(),
        environment::cases(),
        absent::cases(),
        storm::cases(),
    ];
    families.into_iter().flatten().collect()
}

/// Missing parts of this machine.
struct Machine {
    musl: bool,
    linkers: Vec<Linker>,
}

impl Machine {
    fn look() -> Self {
        let there = |program: String| Command::new(program).arg("--version").output().is_ok();
        let linkers = Linker::ALL.into_iter().filter(|linker| !there(format!("ld.{}", linker.name()))).collect();
        Self { musl: !Path::new(MUSL_LOADER).exists() || !there("musl-gcc".to_owned()), linkers }
    }

    /// The reasons for which a case can not be built and run here; empty if it can.
    fn lacks(&self, case: &Case, libc: Libc) -> Vec<String> {
        let mut reasons = Vec::new();
        if libc == Libc::Musl && self.musl {
            reasons.push("there is no musl-tools".to_owned());
        }
        if self.linkers.contains(&case.linker) {
            reasons.push(format!("there is no {}", case.linker.name()));
        }
        let absent = case.wants.iter().filter(|(file, _)| !Path::new(file).exists());
        reasons.extend(absent.map(|(_, package)| format!("there is no {package}")));
        if case.long {
            reasons.push("it takes longer, and is run with --ignored".to_owned());
        }
        reasons
    }
}
