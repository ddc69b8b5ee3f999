//! Runs a case in each world, and compares the outcomes.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::damage::install;
use tests::launch::{Ending, Launch, Outcome, User};
use tests::stage::{LOADER, Stage};

use crate::case::{Case, Libc, Reference};
use crate::workshop::{Workshop, World, expand};

/// Longest time of a program. Short, because a case that hangs may do so in many runs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Status of the loader's refusals.
const REFUSED: i32 = 127;

/// The time at which libc is brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Lazily,
    Eagerly,
}

/// Checks a case with one libc: under each loader, lazily and eagerly, as each user.
pub(crate) fn check(case: &Case, libc: Libc, workshop: &Workshop, stages: &[Stage]) -> Result<()> {
    let workdir = workshop.build(case, libc)?;
    let dir = workdir.path();
    let mut complaints = String::new();
    for &user in User::all()? {
        let reference = launch(case, World::Ordinary, user, When::Lazily, dir)?;
        let asked = !matches!(case.reference, Reference::Says(..));
        if asked && (reference.stdout.is_empty() || reference.stdout.contains("not so: ")) {
            writeln!(complaints, "the ordinary executable is of no use as a reference")?;
        }
        for stage in stages {
            let loader = dir.join(LOADER);
            fs::remove_file(&loader)?;
            install(&stage.loader(), &loader)?;
            // Where nothing says which libc is meant, an eager start takes glibc, and only a lazy one learns better.
            let unsaid = case.names_no_libc && libc == Libc::Musl;
            let lazily = case.lazily_alone || unsaid;
            let whens: &[When] = if lazily { &[When::Lazily] } else { &[When::Lazily, When::Eagerly] };
            for &when in whens {
                for time in 0..case.times {
                    let ours = launch(case, World::Slulrtld, user, when, dir)?;
                    if agree(case, when, &ours, &reference) {
                        continue;
                    }
                    let who = format!("{} loader, {when:?}, {}, run {time}", stage.profile, user.name());
                    complaints += &ours.shown(&who);
                    ensure!(ours.ending != Ending::Hang, "{complaints}{}", reference.shown("ordinary executable"));
                    break;
                }
            }
        }
        if !complaints.is_empty() {
            complaints += &match case.reference {
                Reference::Says(text, status, why) => format!("should be: exit {status} ({why})\n{text}"),
                _ => reference.shown("ordinary executable"),
            };
            break;
        }
    }
    ensure!(complaints.is_empty(), "{complaints}");
    Ok(())
}

/// Whether a run has the expected outcome.
fn agree(case: &Case, when: When, ours: &Outcome, reference: &Outcome) -> bool {
    match (case.reference, when) {
        (Reference::Says(text, status, _), _) => {
            let lines = if status == REFUSED { 1 } else { 0 };
            let is_so = ours.ending == Ending::Exit(status) && ours.stdout == text;
            is_so && ours.stderr.lines().count() == lines
        }
        (Reference::Lazily(text, _), When::Lazily) => ours.ending == reference.ending && ours.stdout == text,
        (Reference::Moves(moved), When::Lazily) => {
            let is_moved = |line: &&str| moved.contains(line);
            let stay = |outcome: &Outcome| -> Vec<String> {
                outcome.stdout.lines().filter(|line| !is_moved(line)).map(str::to_owned).collect()
            };
            let once = |outcome: &Outcome| {
                moved.iter().all(|wanted| outcome.stdout.lines().filter(|line| line == wanted).count() == 1)
            };
            ours.ending == reference.ending && stay(ours) == stay(reference) && once(ours) && once(reference)
        }
        _ => ours.ending == reference.ending && ours.stdout == reference.stdout,
    }
}

fn launch(case: &Case, world: World, user: User, when: When, dir: &Path) -> Result<Outcome> {
    let mut env: Vec<_> = case.env.iter().map(|(name, value)| (name.clone(), expand(value, dir))).collect();
    if when == When::Eagerly {
        env.push(("LD_SLUL_EAGER_LOAD_LIBC".to_owned(), "1".to_owned()));
    }
    let args = case.args.iter().map(|argument| expand(argument, dir)).collect();
    Launch { program: world.program(dir).into(), args, env, rlimit_stack: None, user }.run(TIMEOUT)
}
