//! Costs of bringing libc in, and of native calls after that.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::driver::Effort;
use super::processes::{Comparison, Contender, Goals};
use super::report::{Cell, Report, Table};
use super::spread::Spread;
use super::start::unused;
use super::workshop::{Workshop, text};
use crate::least::{Least, Link, STATUS};
use crate::pin::on_one_cpu;
use crate::run::output;

const STATIC_PIE: &str = "static PIE, without libc";
const PLAIN: &str = "slulrtld, plain start";
const NEVER: &str = "slulrtld, libc named and not used";
const GLIBC_FIRST: &str = "slulrtld, first puts, glibc";
const GLIBC_LEAST: &str = "glibc's ld.so, puts without start-up code";
const GLIBC_HELLO: &str = "glibc, dynamic hello";
const DETOUR: &str = "detour's way, puts, glibc";
const MUSL_FIRST: &str = "slulrtld, first puts, musl";
const MUSL_LEAST: &str = "musl's ld.so, puts without start-up code";
const MUSL_HELLO: &str = "musl, dynamic hello";

/// Measures it.
pub(crate) fn bench(workshop: &Workshop<'_>, effort: Effort, call_rounds: usize) -> Result<Report> {
    let comparison = Comparison::run(workshop, effort, contenders(workshop)?)?;
    let times = |label| comparison.times(label);
    let mut goals = Goals::new();
    let ours = times(GLIBC_FIRST)?;
    goals.at_most("start and first puts to glibc's dynamic hello", ours, times(GLIBC_HELLO)?, 1.1);
    // Being an interpreter costs something before libc is asked for, which ld.so as the interpreter does not pay twice.
    let floor = |least| {
        let sum = times(least)?.iter().zip(times(PLAIN)?).zip(times(STATIC_PIE)?);
        Ok::<_, anyhow::Error>(sum.map(|((least, plain), bare)| least + plain - bare).collect::<Vec<f64>>())
    };
    goals.at_most("start and first puts to the floor, glibc", ours, &floor(GLIBC_LEAST)?, 1.05);
    goals.at_most("start and first puts to musl's dynamic hello", times(MUSL_FIRST)?, times(MUSL_HELLO)?, 1.1);
    goals.at_most("start and first puts to the floor, musl", times(MUSL_FIRST)?, &floor(MUSL_LEAST)?, 1.05);
    goals.at_most("never calling, to the plain start", times(NEVER)?, times(PLAIN)?, 1.25);
    Ok(Report {
        name: "libc",
        method: format!("{}; {call_rounds} rounds of calls", effort.method("each program")),
        tables: vec![
            comparison.table("From vfork to the end of the process", GLIBC_HELLO)?,
            goals.table(),
            calls(workshop, call_rounds)?,
        ],
        notes: vec![
            "The floor is what bogomapping can not go below: the system's ld.so as PT_INTERP of an executable with the same \
             DT_NEEDED, whose entry calls `puts` and `exit` without start-up code, plus what the plain start costs more than \
             the same program without interpreter."
                .to_owned(),
            "\"detour's way\" is a peer of ours in the style of detour and foreign-dlopen (`bench/detour.c`): a static program \
             maps a helper executable, compiled for this libc beforehand, and its ld.so, and leaves the helper's main by a \
             longjmp. It has one TCB after another, no exit of its own world, and nothing bound."
                .to_owned(),
            "A call once bound runs the same instructions in both; a cycle or two more or less come from where they lie."
                .to_owned(),
            "musl's programs name a library built for musl as well, by which the loader knows which libc to bring in."
                .to_owned(),
        ],
    })
}

fn contenders(workshop: &Workshop<'_>) -> Result<Vec<Contender>> {
    let least = Least::new(workshop.repo, workshop.directory().to_owned());
    let first = unused(workshop)?;
    let helper = workshop.compile("gcc", "detour-helper", "detour_helper.c", &[])?;
    let (musl_first, musl) = musl_first(workshop)?;
    let musl_directory = format!("-L{}", text(&musl)?);
    let musl_link = [&[musl_directory.as_str()], MUSL_LINK.as_slice()].concat();
    let bare = |name, link| least.program(name, link);
    let no_start_up = ["-nostartfiles"];
    let musl_least = [no_start_up.as_slice(), musl_link.as_slice()].concat();
    Ok(vec![
        Contender::new(STATIC_PIE, bare("static-pie", Link::StaticPie)?, STATUS),
        Contender::new(PLAIN, bare("plain", Link::Pie(&workshop.stage.loader))?, STATUS),
        Contender::new(NEVER, first.clone(), 0),
        Contender::new(GLIBC_FIRST, first, 0).argument("now"),
        Contender::new(GLIBC_LEAST, workshop.compile("gcc", "glibc-least", "no_start_up.c", &no_start_up)?, 0),
        Contender::new(GLIBC_HELLO, workshop.compile("gcc", "glibc-hello", "hello.c", &[])?, 0),
        Contender::new(DETOUR, detour(workshop, &helper)?, 0),
        Contender::new(MUSL_FIRST, musl_first, 0).argument("now").variable("LD_LIBRARY_PATH", &musl)?,
        Contender::new(MUSL_LEAST, workshop.compile("musl-gcc", "musl-least", "no_start_up.c", &musl_least)?, 0)
            .variable("LD_LIBRARY_PATH", &musl)?,
        Contender::new(MUSL_HELLO, workshop.compile("musl-gcc", "musl-hello", "hello.c", &musl_link)?, 0)
            .variable("LD_LIBRARY_PATH", &musl)?,
    ])
}

/// Options of the linker for programs with musl.
const MUSL_LINK: [&str; 3] = ["-Wl,--no-as-needed", "-lnative", "-lc"];

/// A program that with an argument calls `puts` of musl, and the LD_LIBRARY_PATH that it needs for that.
pub(crate) fn musl_first(workshop: &Workshop<'_>) -> Result<(PathBuf, PathBuf)> {
    let directory = musl_library(workshop)?;
    let search = format!("-L{}", text(&directory)?);
    let link = [&[search.as_str()], MUSL_LINK.as_slice()].concat();
    Ok((workshop.libc_free("musl-first", "first_call.c", &link)?, directory))
}

fn detour(workshop: &Workshop<'_>, helper: &std::path::Path) -> Result<PathBuf> {
    let helper = format!("-DHELPER=\"{}\"", text(helper)?);
    let options = ["-nostdlib", "-nostartfiles", "-static", "-no-pie", "-fno-pie", "-fno-builtin"];
    let options = [options.as_slice(), &["-fno-stack-protector", &helper]].concat();
    workshop.compile("gcc", "detour", "detour.c", &options)
}

/// The directory of a native library built for musl, and of its like for glibc a level above.
fn musl_library(workshop: &Workshop<'_>) -> Result<PathBuf> {
    let options = ["-DLIBRARY", "-shared", "-fPIC", "-Wl,--no-as-needed", "-lc", "-Wl,-soname,libnative.so"];
    workshop.compile("gcc", "libnative.so", "calls.c", &options)?;
    let directory = workshop.path("musl");
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    workshop.compile("musl-gcc", "musl/libnative.so", "calls.c", &options)?;
    Ok(directory)
}

/// Costs of a call that is already bound.
fn calls(workshop: &Workshop<'_>, rounds: usize) -> Result<Table> {
    let directory = workshop.directory();
    let rpath = format!("-Wl,-rpath,{}", text(directory)?);
    let header = ["a native call through the", "ordinary, ns", "slulrtld, ns", "ratio (p10 to p90)", "goal"];
    let mut table = Table::new("Calls once bound", &header);
    for (name, option) in [("PLT", "-fplt"), ("GOT", "-fno-plt")] {
        // So that both loops have the same alignment in the processor's caches.
        let link =
            [option, "-falign-functions=64", "-falign-loops=64", "-Wl,--no-as-needed", "-lnative", "-lc", &rpath];
        let ordinary = workshop.compile("gcc", &format!("calls-{name}"), "calls.c", &link)?;
        let free = [&["-DLIBC_FREE"], link.as_slice()].concat();
        let ours = workshop.libc_free(&format!("calls-{name}-libc-free"), "calls.c", &free)?;
        let (mut theirs, mut own) = (Vec::new(), Vec::new());
        on_one_cpu(|| {
            for _ in 0..rounds {
                theirs.push(nanoseconds(&ordinary)?);
                own.push(nanoseconds(&ours)?);
            }
            Ok(())
        })?;
        let ratio = Spread::of_ratios(&own, &theirs);
        table.push(vec![
            Cell::text(name),
            Cell::Figure(Spread::of(theirs).median, 2),
            Cell::Figure(Spread::of(own).median, 2),
            Cell::Ratio(ratio),
            Cell::AtMost(ratio.median, 1.02),
        ]);
    }
    Ok(table)
}

fn nanoseconds(program: &std::path::Path) -> Result<f64> {
    let text = output(&mut Command::new(program))?;
    let picoseconds: f64 = text.trim().parse().with_context(|| format!("{}: {text}", program.display()))?;
    Ok(picoseconds / 1000.0)
}
