//! gdb with a live process: breakpoints that were set before the start are hit in libraries of the start, in opened and
//! in native ones; backtraces are complete; the list of libraries has those that are mapped, and no others. Also core
//! files ([`core`]) and the samples of a profiler ([`perf`]).
//!
//! Tests whose tool is missing are listed as ignored, and counted at the end.

mod backtrace;
mod core;
mod perf;
mod ways;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::build::Build;
use tests::directive::Fixture;
use tests::recipe::Recipe;
use tests::stage::{self, LOADER, Stage, TEMPLATE};

use crate::backtrace::{NOTICE, NOTICE_FRAME, SETTINGS, function};

/// The program for the live process.
const FIXTURE: &str = "open/backtrace.c";

/// The program for core files and samples.
const WALKED: &str = "native/walked.c";

/// gdb's commands before the start. The functions are in the fixture.
const PRELUDE: [&str; 5] = ["break in_start", "break in_plugin", "tbreak crc32", "tbreak exit", "run"];

/// A line before the answers at each stop.
const STOP: &str = "==== stop";

/// gdb's commands at each stop.
const QUESTIONS: [&str; 4] = ["print/x $pc", "backtrace", "info sharedlibrary", "continue"];

/// A stop of the program.
struct Expected {
    /// Functions of the backtrace, the innermost first.
    functions: &'static [&'static str],
    /// The library that the program stops in.
    place: &'static str,
    /// Listed libraries besides the loader and the one of the start.
    opened: &'static [&'static str],
}

const START: &str = "/libstart.so";
const PLUGIN: &str = "/libplugin.so";
const LIBZ: &str = "/libz.so.1";
const LIBC: &str = "/libc.so.6";

/// The first stops of every variant.
const CALLS: [Expected; 3] = [
    Expected { functions: &["in_start", "_start"], place: START, opened: &[] },
    Expected { functions: &["in_start", "_start"], place: START, opened: &[PLUGIN] },
    Expected { functions: &["in_plugin", "in_start", "_start"], place: PLUGIN, opened: &[PLUGIN] },
];

/// The stop after the opened library is closed.
const CLOSED: Expected = Expected { functions: &["in_start", "_start"], place: START, opened: &[] };

/// The stops after libc is brought in.
const NATIVE: [Expected; 5] = [
    Expected { functions: &["crc32", "_start"], place: LIBZ, opened: &[PLUGIN, LIBZ, LIBC] },
    Expected { functions: &["in_start", "_start"], place: START, opened: &[PLUGIN, LIBZ, LIBC] },
    Expected { functions: &["in_plugin", "in_start", "_start"], place: PLUGIN, opened: &[PLUGIN, LIBZ, LIBC] },
    Expected { functions: &["in_start", "_start"], place: START, opened: &[LIBZ, LIBC] },
    Expected { functions: &["exit"], place: LIBC, opened: &[LIBZ, LIBC] },
];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let missing = Command::new("gdb").arg("--version").stdout(Stdio::null()).status().is_err();
    let gdb_lacks = missing.then_some("there is no gdb");
    let mut trials = Vec::new();
    let mut reasons = BTreeSet::new();
    let mut add = |name: String, lacks: Option<&'static str>, run: Box<dyn FnOnce() -> Result<()> + Send>| {
        reasons.extend(lacks);
        let trial = Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:#}"))));
        trials.push(trial.with_ignored_flag(lacks.is_some()));
    };
    for recipe in recipes(FIXTURE)? {
        for stage in Stage::all()? {
            let recipe = recipe.clone();
            let name = format!("gdb/{}/{}", recipe.name, stage.profile);
            add(name, gdb_lacks, Box::new(move || run(&recipe, &stage)));
        }
    }
    for recipe in recipes(WALKED)? {
        for stage in Stage::all()? {
            let (recipe, profile) = (recipe.clone(), stage.profile);
            if recipe.name.ends_with("/crash") {
                let lacks = gdb_lacks.or_else(core::lacks);
                add(format!("gdb/core/{profile}"), lacks, Box::new(move || core::run(&recipe, &stage)));
            } else {
                add(format!("gdb/perf/{profile}"), perf::lacks(), Box::new(move || perf::run(&recipe, &stage)));
            }
        }
    }
    for stage in Stage::all()? {
        for way in ways::ALL {
            for needs in ways::NEEDS {
                let (name, stage) = (format!("gdb/ways/{way:?}/{needs:?}/{}", stage.profile), stage.clone());
                add(name.to_lowercase(), gdb_lacks, Box::new(move || ways::run(way, needs, &stage)));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        println!("{} tests left out: {reasons}", conclusion.num_ignored);
    }
    Ok(conclusion.exit_code())
}

/// The variants of a fixture.
fn recipes(fixture: &str) -> Result<Vec<Recipe>> {
    Recipe::all(&Fixture::read(stage::fixtures(), &stage::fixtures().join(fixture))?)
}

/// Builds a variant, and runs it under gdb.
fn run(recipe: &Recipe, stage: &Stage) -> Result<()> {
    let build = Build::new(recipe, stage)?;
    let expected: Vec<&Expected> = match recipe.name.ends_with("/libraries") {
        true => CALLS.iter().chain([&CLOSED]).collect(),
        false => CALLS.iter().chain(&NATIVE).collect(),
    };
    let notice_in = if recipe.installed.is_some() { TEMPLATE } else { LOADER };
    let printed = gdb(build.path(), expected.len())?;
    let check = || -> Result<()> {
        let mut stops = printed.split(STOP).skip(1);
        for (number, expected) in expected.iter().enumerate() {
            let stop = stops.next().with_context(|| format!("there is no stop {number}"))?;
            look(stop, expected, notice_in).with_context(|| format!("at stop {number}"))?;
        }
        // gdb prints the status, 17, in octal.
        ensure!(printed.contains("exited with code 021"), "the program did not end as it is to end");
        Ok(())
    };
    check().with_context(|| format!("gdb printed\n{printed}"))
}

/// Runs a program with `stops` stops under gdb, and returns gdb's output.
fn gdb(program: &Path, stops: usize) -> Result<String> {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch"]).stdin(Stdio::null());
    let stop = format!("echo {STOP}\\n");
    let questions = QUESTIONS.iter().copied();
    let mut commands = [&SETTINGS[..], &PRELUDE].concat();
    for _ in 0..stops {
        commands.push(&stop);
        commands.extend(questions.clone());
    }
    command.args(commands.iter().flat_map(|command| ["-ex", command])).arg(program);
    let output = command.output().context("gdb")?;
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    write!(printed, "and on standard error\n{errors}")?;
    Ok(printed)
}

/// Checks gdb's answers at a stop. After libc is brought in the backtrace ends in a file named `notice_in`.
fn look(answers: &str, expected: &Expected, notice_in: &str) -> Result<()> {
    let frames = || answers.lines().filter(|line| line.starts_with('#'));
    let functions: Vec<&str> = frames().filter_map(function).take(expected.functions.len()).collect();
    ensure!(functions == expected.functions, "the backtrace has {functions:?}, not {:?}", expected.functions);
    // The caller of the program, or, after libc is brought in, the frame of the notice.
    let last = frames().next_back().context("no backtrace")?;
    let told = function(last) == Some(NOTICE_FRAME) && last.ends_with(notice_in);
    ensure!(told == expected.opened.contains(&LIBC), "the backtrace ends in {last:?}");
    let listed_notice = answers.lines().any(|line| line.ends_with(NOTICE));
    ensure!(listed_notice == told, "{NOTICE} is {}listed", if told { "not " } else { "" });

    let listed: Vec<(u64, u64, &str)> = answers.lines().filter_map(library).collect();
    let known = [PLUGIN, LIBZ, LIBC];
    let opened: Vec<&str> =
        known.into_iter().filter(|name| listed.iter().any(|(_, _, path)| path.ends_with(name))).collect();
    ensure!(opened == expected.opened, "listed are {opened:?}, not {:?}", expected.opened);
    for name in [START, "/slulrtld-x86_64.so.1"] {
        let count = listed.iter().filter(|(_, _, path)| path.ends_with(name)).count();
        ensure!(count == 1, "{name} is listed {count} times");
    }

    let counter = answers.lines().find_map(|line| line.split_once("= 0x")).context("no program counter")?;
    let counter = u64::from_str_radix(counter.1, 16)?;
    let holder = listed.iter().find(|(from, to, _)| (*from..*to).contains(&counter));
    let holder = holder.with_context(|| format!("{counter:#x} is in no library"))?.2;
    ensure!(holder.ends_with(expected.place), "{counter:#x} is in {holder}, not {}", expected.place);
    Ok(())
}

/// A line of `info sharedlibrary`: start and end of the code, and the path.
fn library(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_whitespace();
    let mut address = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (from, to) = (address()?, address()?);
    Some((from, to, words.next_back().filter(|path| path.starts_with('/'))?))
}
