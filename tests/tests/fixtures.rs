//! One test for each fixture, variant, loader and user: `native/zlib/now/release/nobody`.
//!
//! Tests that this machine can not run are listed as ignored, and counted at the end.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::build::Build;
use tests::classes;
use tests::directive::{Fixture, fixture_files};
use tests::expectation;
use tests::launch::{Launch, TIMEOUT, User};
use tests::recipe::{Need, Recipe};
use tests::stage::{self, Stage};

/// Every test runs the program this many times in a row.
const RUNS: usize = 2;

/// A build that the tests of one fixture and loader share; the first of them makes it.
#[derive(Default)]
struct SharedBuild(OnceLock<Result<Build, String>>);

impl SharedBuild {
    fn get(&self, recipe: &Recipe, stage: &Stage) -> Result<&Build, Failed> {
        let build = self.0.get_or_init(|| Build::new(recipe, stage).map_err(|error| format!("{error:#}")));
        build.as_ref().map_err(|text| Failed::from(text.clone()))
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let stages = Stage::all()?;
    let users = User::all()?;
    if users == [User::Oneself] {
        println!("not root: every fixture runs as this user alone, not as root and as an ordinary user");
    }
    let mut recipes = Vec::new();
    for path in fixture_files(stage::fixtures())? {
        recipes.extend(Recipe::all(&Fixture::read(stage::fixtures(), &path)?)?);
    }
    let mut trials = Vec::new();
    for recipe in recipes.into_iter().map(Arc::new) {
        for stage in &stages {
            trials.extend(trials_of(&recipe, stage, users));
        }
    }
    trials.push(classes::trial("fixtures", &trials));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        let lacking = [Need::Musl, Need::Root].into_iter().filter(|&need| lacks(need, users)).map(reason);
        println!("{} tests left out: {}", conclusion.num_ignored, lacking.collect::<Vec<_>>().join("; "));
    }
    Ok(conclusion.exit_code())
}

/// Whether this machine or user can not fulfil a need.
fn lacks(need: Need, users: &[User]) -> bool {
    match need {
        Need::Musl => stage::musl().is_none(),
        Need::Root => users == [User::Oneself],
    }
}

/// The label of tests with the need.
fn kind(need: Need) -> &'static str {
    match need {
        Need::Musl => "needs musl",
        Need::Root => "needs root",
    }
}

/// The reason for which tests with the need are left out.
fn reason(need: Need) -> String {
    match need {
        Need::Musl => format!("{} names no directory with a musl libz.so.1", stage::MUSL),
        Need::Root => "only root can make programs set-id".to_owned(),
    }
}

/// The tests of a recipe under one loader.
fn trials_of(recipe: &Arc<Recipe>, stage: &Stage, users: &'static [User]) -> Vec<Trial> {
    let shared = Arc::new(SharedBuild::default());
    let trial = |&user: &User| {
        let name = format!("{}/{}/{}", recipe.name, stage.profile, user.name());
        let (recipe_of_trial, stage, shared) = (Arc::clone(recipe), stage.clone(), Arc::clone(&shared));
        let trial = Trial::test(name, move || run(&recipe_of_trial, &stage, &shared, user));
        match recipe.needs {
            Some(need) => trial.with_kind(kind(need)).with_ignored_flag(lacks(need, users)),
            None => trial,
        }
    };
    users.iter().map(trial).collect()
}

/// Builds the fixture if it is not built yet, and runs it.
fn run(recipe: &Recipe, stage: &Stage, shared: &SharedBuild, user: User) -> Result<(), Failed> {
    let build = shared.get(recipe, stage)?;
    let launch = Launch {
        program: build.path().into(),
        args: recipe.args.iter().map(|argument| build.expand(argument)).collect(),
        env: recipe.env.iter().map(|(name, value)| (name.clone(), build.expand(value))).collect(),
        rlimit_stack: recipe.rlimit_stack,
        user,
    };
    for number in 1..=RUNS {
        let outcome = launch.run(TIMEOUT)?;
        let checked = expectation::check(recipe, build, &outcome);
        checked
            .with_context(|| format!("run {number} in {}", build.dir().display()))
            .map_err(|error| format!("{error:#}"))?;
    }
    Ok(())
}
