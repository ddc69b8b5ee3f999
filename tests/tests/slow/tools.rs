//! LD_PRELOAD, valgrind and ltrace in a process of `slulrtld-using-libc`, the only one in which they work; and the
//! limits of programs there.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use tests::build::{Build, run};
use tests::directive::Fixture;
use tests::launch::{Ending, Launch, Outcome, TIMEOUT, User};
use tests::recipe::{Recipe, SUCCESS};
use tests::stage::{Stage, USING_LIBC};

/// A program that calls libc as an ordinary one would.
const PROGRAM: &str = r#"
//# link: -l:libc.so.6
#include "libcfree.h"
int puts(const char *);
void *malloc(word);
void free(void *);
static char *volatile lost;
PROGRAM
{
    char *volatile block = malloc(40);
    block[0] = 'a';
    if (argc > 1) {
        // One byte beyond the end, and a block that nobody frees.
        block[40] = block[0];
        lost = malloc(77);
        lost = 0;
    }
    free(block);
    puts("program");
    return SUCCESS;
}
"#;

/// A library that interposes functions of libc, for the program and for libc.
const PRELOADED: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
static int blocks;
void *malloc(unsigned long size)
{
    static void *(*next)(unsigned long);
    if (!next)
        next = (void *(*)(unsigned long))dlsym(RTLD_NEXT, "malloc");
    blocks += size == 40;
    return next(size);
}
int puts(const char *text)
{
    return printf("[%s after %d]\n", text, blocks);
}
"#;

/// The tests of a loader.
pub(crate) fn trials(stage: &Stage) -> Vec<Trial> {
    let has_valgrind = Path::new(VALGRIND).exists();
    let trial = |name: &str, test: fn(&Stage) -> Result<(), Failed>| {
        let stage = stage.clone();
        Trial::test(format!("tools/{name}/{}", stage.profile), move || test(&stage))
    };
    vec![
        trial("preload", preload),
        trial("preload_without", preload_without),
        trial("replaced", replaced),
        trial("valgrind", valgrind).with_ignored_flag(!has_valgrind).with_kind("needs valgrind"),
        trial("ltrace", ltrace).with_ignored_flag(!Path::new(LTRACE).exists()).with_kind("needs ltrace"),
    ]
}

const VALGRIND: &str = "/usr/bin/valgrind";
const LTRACE: &str = "/usr/bin/ltrace";
const SLOW: &str = "LD_SLUL_SLOW_RELIABLE_LIBC_LOADING";

/// Builds the program, and the preloaded library beside it.
fn build(stage: &Stage) -> anyhow::Result<(Build, tests::workdir::Workdir)> {
    build_of(stage, PROGRAM)
}

fn build_of(stage: &Stage, text: &str) -> anyhow::Result<(Build, tests::workdir::Workdir)> {
    let sources = tests::workdir::Workdir::new()?;
    let (program, library) = (sources.path().join("tool.c"), sources.path().join("preloaded.c"));
    fs::write(&program, text)?;
    fs::write(&library, PRELOADED)?;
    let fixture = Fixture::parse("tools/tool".to_owned(), program, text)?;
    let mut recipe = Recipe::all(&fixture)?.remove(0);
    recipe.installed = Some(USING_LIBC.map(str::to_owned).to_vec());
    let build = Build::new(&recipe, stage)?;
    run(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(build.dir().join("preloaded.so")).arg(library))?;
    Ok((build, sources))
}

fn start(program: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Outcome> {
    let owned = |text: &&str| (*text).to_owned();
    let launch = Launch {
        program: program.into(),
        args: args.iter().map(owned).collect(),
        env: env.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
        rlimit_stack: None,
        user: User::Oneself,
    };
    launch.run(TIMEOUT)
}

fn expect(right: bool, outcome: &Outcome) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(outcome.shown("it").into()) }
}

/// The program's calls go to the preloaded library, those to functions of libc that it interposes included.
fn preload(stage: &Stage) -> Result<(), Failed> {
    let (build, _sources) = build(stage).map_err(|error| format!("{error:#}"))?;
    let library = build.dir().join("preloaded.so");
    let env = [(SLOW, "1"), ("LD_PRELOAD", &*library.to_string_lossy())];
    let outcome = start(build.path(), &[], &env)?;
    let right = outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == "[program after 1]\n";
    expect(right && outcome.stderr.is_empty(), &outcome)
}

/// Without LD_PRELOAD the program prints something else: the output in [`preload`] is the library's.
fn preload_without(stage: &Stage) -> Result<(), Failed> {
    let (build, _sources) = build(stage).map_err(|error| format!("{error:#}"))?;
    let outcome = start(build.path(), &[], &[(SLOW, "1")])?;
    let right = outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == "program\n";
    expect(right && outcome.stderr.is_empty(), &outcome)
}

/// A program that exports a function of libc to native libraries. libc is bound to its own by then.
const REPLACING: &str = r#"
//# link: -l:libc.so.6
//# program: -Wl,--export-dynamic
#include "libcfree.h"
int puts(const char *);
int getpid(void)
{
    return SUCCESS;
}
PROGRAM
{
    puts("program");
    return getpid();
}
"#;

/// Such a program is refused before any of its code runs.
fn replaced(stage: &Stage) -> Result<(), Failed> {
    let (build, _sources) = build_of(stage, REPLACING).map_err(|error| format!("{error:#}"))?;
    let outcome = start(build.path(), &[], &[])?;
    expect(outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == "program\n", &outcome)?;
    let outcome = start(build.path(), &[], &[(SLOW, "1")])?;
    let said = format!("slulrtld: {}: getpid is defined here and in libc", build.path().display());
    let right =
        outcome.ending == Ending::Exit(127) && outcome.stdout.is_empty() && outcome.stderr.starts_with(&said);
    expect(right && outcome.stderr.lines().count() == 1, &outcome)
}

/// memcheck follows the loader into `slulrtld-using-libc`, knows malloc's blocks there and the
/// program's functions, and reports errors with them.
fn valgrind(stage: &Stage) -> Result<(), Failed> {
    let (build, _sources) = build(stage).map_err(|error| format!("{error:#}"))?;
    let program = build.path().to_string_lossy();
    let loader = build.dir().join(USING_LIBC[0]);
    // valgrind calls it "(below main)".
    let checked = ["-q", "--leak-check=full", "--error-exitcode=9", "--show-below-main=yes"];
    let direct = |last: &[&str]| {
        let loader = loader.to_string_lossy();
        let args: Vec<&str> =
            checked.iter().copied().chain([&*loader, &*program]).chain(last.iter().copied()).collect();
        start(Path::new(VALGRIND), &args, &[])
    };
    let sound = direct(&[])?;
    expect(
        sound.ending == Ending::Exit(SUCCESS) && sound.stdout == "program\n" && sound.stderr.is_empty(),
        &sound,
    )?;
    let finds = |outcome: &Outcome| {
        let said = |text: &str| outcome.stderr.contains(text);
        outcome.ending == Ending::Exit(9)
            && said("Invalid write of size 1")
            && said("0 bytes after a block of size 40 alloc'd")
            && said(": _start (in ")
            && said("77 bytes in 1 blocks are definitely lost")
    };
    let broken = direct(&["break"])?;
    expect(finds(&broken), &broken)?;
    let args: Vec<&str> = checked.iter().copied().chain(["--trace-children=yes", &*program, "break"]).collect();
    let followed = start(Path::new(VALGRIND), &args, &[(SLOW, "1")])?;
    expect(finds(&followed), &followed)
}

/// ltrace sees the program's calls of libc, by the names that libc exports: it does not know the program's own PLT.
fn ltrace(stage: &Stage) -> Result<(), Failed> {
    let (build, _sources) = build(stage).map_err(|error| format!("{error:#}"))?;
    let loader = build.dir().join(USING_LIBC[0]);
    let (loader, program) = (loader.to_string_lossy(), build.path().to_string_lossy());
    let watched = ["-x", "puts@libc.so*", "-x", "malloc@libc.so*"];
    let sees = |outcome: &Outcome| {
        let said = |text: &str| outcome.stderr.contains(text);
        let ended = said(&format!("+++ exited (status {SUCCESS}) +++"));
        let right = outcome.ending == Ending::Exit(0) && outcome.stdout == "program\n" && ended;
        right && said("puts@libc.so.6(\"program\"") && said("malloc@libc.so.6(40)")
    };
    let args: Vec<&str> = watched.iter().copied().chain([&*loader, &*program]).collect();
    let direct = start(Path::new(LTRACE), &args, &[])?;
    expect(sees(&direct), &direct)?;
    let args: Vec<&str> = watched.iter().copied().chain([&*program]).collect();
    let followed = start(Path::new(LTRACE), &args, &[(SLOW, "1")])?;
    expect(sees(&followed), &followed)
}
