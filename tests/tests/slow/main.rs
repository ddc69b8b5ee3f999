//! The fixtures under `slulrtld-using-libc`: their programs and expectations are unchanged, and
//! LD_SLUL_SLOW_RELIABLE_LIBC_LOADING is in the environment.

mod known;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tests::build::Build;
use tests::directive::{Fixture, fixture_files};
use tests::expectation;
use tests::launch::{Launch, TIMEOUT, User};
use tests::recipe::{Need, Recipe};
use tests::stage::{self, Stage, USING_LIBC};

/// Folders of fixtures whose programs may come to need libc.
const FOLDERS: [&str; 6] = ["exports/", "library/", "musl/", "native/", "open/", "tls/"];

/// A fixture that depends on the time that bringing libc in takes.
const TIMED: &str = "native/handler_first_call";

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let stages = Stage::all()?;
    let mut trials: Vec<Trial> = stages.iter().flat_map(tools::trials).collect();
    let mut names = Vec::new();
    for path in fixture_files(stage::fixtures())? {
        for recipe in Recipe::all(&Fixture::read(stage::fixtures(), &path)?)? {
            if FOLDERS.iter().any(|folder| recipe.name.starts_with(folder)) && !recipe.name.starts_with(TIMED) {
                trials.extend(stages.iter().map(|stage| trial(slow(&recipe), stage.clone())));
                names.push(recipe.name);
            }
        }
    }
    trials.push(Trial::test("known", move || Ok(known::check(&names)?)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    known::print();
    if conclusion.num_ignored > 0 {
        println!(
            "{} tests left out: set-id programs are not run so, others need musl or valgrind",
            conclusion.num_ignored
        );
    }
    Ok(conclusion.exit_code())
}

/// The recipe with the variable, and with `slulrtld-using-libc` installed.
fn slow(recipe: &Recipe) -> Recipe {
    let mut slow = recipe.clone();
    slow.installed.get_or_insert_default().extend(USING_LIBC.map(str::to_owned));
    slow.env.push(("LD_SLUL_SLOW_RELIABLE_LIBC_LOADING".to_owned(), "1".to_owned()));
    slow
}

fn trial(recipe: Recipe, stage: Stage) -> Trial {
    let lacks = recipe.needs == Some(Need::Musl) && stage::musl().is_none();
    let root = recipe.needs == Some(Need::Root);
    let name = format!("slow/{}/{}", recipe.name, stage.profile);
    Trial::test(name, move || run(&recipe, &stage)).with_ignored_flag(lacks || root)
}

/// Runs a fixture. One that is known to differ must fail, in the way that is known.
fn run(recipe: &Recipe, stage: &Stage) -> Result<(), Failed> {
    let build = Build::new(recipe, stage).map_err(|error| format!("{error:#}"))?;
    let launch = Launch {
        program: build.path().into(),
        args: recipe.args.iter().map(|argument| build.expand(argument)).collect(),
        env: recipe.env.iter().map(|(name, value)| (name.clone(), build.expand(value))).collect(),
        rlimit_stack: recipe.rlimit_stack,
        user: User::Oneself,
    };
    let outcome = launch.run(TIMEOUT)?;
    let checked = expectation::check(recipe, &build, &outcome).map_err(|error| format!("{error:#}"));
    Ok(known::judge(&recipe.name, &outcome, checked)?)
}
