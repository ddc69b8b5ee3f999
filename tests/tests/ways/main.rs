//! Every way in: a program sees the same by each, and refusals are one line.
//!
//! | file | what |
//! |---|---|
//! | `alone` | programs that need no loader, and programs that packers map |
//! | `table` | the table of `docs/ways-in.md` |
//! | `readme` | the README's link lines, unchanged |
//! | `same` | a program by every way in |
//! | `secure` | privileges: programs that keep them, and programs that are refused |
//! | `tools` | the host tools: `runslul-binfmt`, `slulbin` |
//! | `stubs` | the stubs of rt0 in difficult surroundings, and their refusals |
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs on the host, over files of its own: what is out of range is a panic, and that a failed test"
)]

mod alone;
mod readme;
mod same;
mod secure;
mod stubs;
mod table;
mod tools;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use abi::libcs::Libc;
use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::classes;
use tests::launch::User;
use tests::linked::Programs;
use tests::root;
use tests::stage::{self, Stage};

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let mut trials = Trials { trials: Vec::new(), lacks: BTreeSet::new() };
    for stage in Stage::all()? {
        trials.of(&Arc::new(stage))?;
    }
    trials.trials.push(classes::trial("ways", &trials.trials));
    let conclusion = libtest_mimic::run(&arguments, trials.trials);
    if conclusion.num_ignored > 0 {
        let lacks = trials.lacks.into_iter().collect::<Vec<_>>().join("; ");
        println!("{} tests left out: {lacks}", conclusion.num_ignored);
    }
    Ok(conclusion.exit_code())
}

/// The tests, and the reasons for which some are left out.
struct Trials {
    trials: Vec<Trial>,
    lacks: BTreeSet<String>,
}

/// Objects of the program that reports what it sees, and what they are called in names of tests.
const KINDS: [(&str, &str); 3] =
    [("report.o", "plain"), ("report-native.o", "native"), ("report-eager.o", "eager")];

impl Trials {
    fn push(&mut self, name: String, lack: Option<String>, check: impl FnOnce() -> Result<()> + Send + 'static) {
        let run = move || check().map_err(|error| Failed::from(format!("{error:#}")));
        self.trials.push(Trial::test(name, run).with_ignored_flag(lack.is_some()));
        self.lacks.extend(lack);
    }

    fn of(&mut self, stage: &Arc<Stage>) -> Result<()> {
        let programs = Arc::new(Programs::new(stage)?);
        let table = Arc::new(table::read()?);
        let named = |name: &String| same::WAYS.iter().any(|way| way.name == name);
        ensure!(table.keys().all(named), "docs/ways-in.md has a way in that nothing tests");
        let no_namespaces = root::refusal();
        for way in &same::WAYS {
            let row = table.get(way.name).with_context(|| format!("docs/ways-in.md: no row `{}`", way.name))?;
            for (object, kind) in KINDS {
                let lack = no_namespaces.clone().or_else(|| root::binfmt_refusal().filter(|_| way.binfmt));
                let (row, programs, stage) = (row.clone(), Arc::clone(&programs), Arc::clone(stage));
                let name = format!("same/{}/{kind}/{}", way.name, stage.profile);
                self.push(name, lack, move || same::check(way, object, &row, &programs, &stage));
            }
        }
        self.stubs(stage, &programs, &no_namespaces)?;
        self.readme(stage, &programs, &no_namespaces)?;
        for (name, check, binfmt) in tools::CHECKS {
            let (programs, stage) = (Arc::clone(&programs), Arc::clone(stage));
            let lack = no_namespaces.clone().or_else(|| root::binfmt_refusal().filter(|_| binfmt));
            self.push(format!("tools/{name}/{}", stage.profile), lack, move || check(&programs, &stage));
        }
        for case in &secure::CASES {
            let (programs, stage) = (Arc::clone(&programs), Arc::clone(stage));
            let name = format!("secure/{}/{}", case.name, stage.profile);
            let ordinary = User::all()? == [User::Oneself];
            let lack = ordinary.then(|| "only root gives privileges".to_owned());
            let lack = lack.or_else(|| root::binfmt_refusal().filter(|_| case.needs_binfmt()));
            self.push(name, lack, move || case.check(&programs, &stage));
        }
        Ok(())
    }

    fn stubs(&mut self, stage: &Arc<Stage>, programs: &Arc<Programs>, lack: &Option<String>) -> Result<()> {
        let ordinary = User::all()? == [User::Oneself];
        let not_root = || ordinary.then(|| "only root becomes somebody else".to_owned());
        for scenario in &stubs::SCENARIOS {
            let lack = if scenario.as_nobody { not_root() } else { lack.clone() };
            let (programs, stage) = (Arc::clone(programs), Arc::clone(stage));
            let name = format!("{}/{}", scenario.name, stage.profile);
            self.push(name, lack, move || scenario.check(&programs, &stage));
        }
        let no_musl = stage::musl().is_none().then(|| "no zlib for musl".to_owned());
        for (libc, name, other) in [(Libc::Gnu, "glibc", None), (Libc::Musl, "musl", no_musl)] {
            let (programs, stage) = (Arc::clone(programs), Arc::clone(stage));
            let name = format!("embed/alone-with-{name}/{}", stage.profile);
            self.push(name, lack.clone().or(other), move || stubs::check_embedded(libc, &programs, &stage));
        }
        let (programs, stage) = (Arc::clone(programs), Arc::clone(stage));
        let name = format!("embed/choice/{}", stage.profile);
        self.push(name, lack.clone(), move || stubs::check_choice(&programs, &stage));
        Ok(())
    }

    fn readme(&mut self, stage: &Arc<Stage>, programs: &Arc<Programs>, lack: &Option<String>) -> Result<()> {
        let no_zlib = !Path::new("/usr/include/zlib.h").exists();
        let lack = lack.clone().or_else(|| no_zlib.then(|| "no zlib to link with".to_owned()));
        let (programs, stage) = (Arc::clone(programs), Arc::clone(stage));
        let name = format!("readme/{}", stage.profile);
        self.push(name, lack, move || readme::check(&programs, &stage));
        Ok(())
    }
}
