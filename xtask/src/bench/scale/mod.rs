//! Many libraries: growth of the costs with their number.

pub(crate) mod libraries;
pub(crate) mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;

use abi::libcs::Libc;
use anyhow::{Context, Result, ensure};

use self::libraries::{EXPORTS, Libraries, Shape};
use self::peer::Peer;
use super::driver::{self, Effort, Job, Sample};
use super::report::{Cell, Report, Table};
use super::spread::Spread;
use super::workshop::{Workshop, text};
use crate::count::{callgrind, trace};
use crate::packages;
use crate::run::output;

/// Functions that each library imports.
const IMPORTS: u64 = 200;

const GLIBC: &str = Libc::Gnu.interpreter();
const MUSL: &str = Libc::Musl.interpreter();

/// Makes glibc bind everything at once, as the others do.
const BIND_NOW: (&str, &str) = ("LD_BIND_NOW", "1");

/// Milliseconds from which on the kernel's division into user and system time means something: no kernel's tick is
/// longer.
const TICK: f64 = 10.0;

/// One number of libraries, and how often each program is run with it.
pub(crate) struct Step {
    pub(crate) libraries: u64,
    pub(crate) effort: Effort,
}

/// The figures for one number of libraries.
struct Found {
    libraries: u64,
    ours: Sample,
    ours_without_imports: Sample,
    glibc: Sample,
    musl: Sample,
    /// In the order of their columns; none for crates that can not load as many.
    crates: Vec<Option<Sample>>,
    instructions: [Option<u64>; 2],
    system_calls: [u64; 2],
}

impl Found {
    fn relocations(&self) -> f64 {
        number(self.libraries * IMPORTS)
    }
}

/// Measures it.
pub(crate) fn bench(workshop: &Workshop<'_>, steps: &[Step], with_crates: bool) -> Result<Report> {
    let crates = if with_crates { peer::crates(workshop)? } else { Vec::new() };
    let measured = steps.iter().map(|step| measure(workshop, step, &crates));
    let found = measured.collect::<Result<Vec<_>>>()?;
    let rounds: Vec<_> = steps.iter().map(|step| step.effort.rounds.to_string()).collect();
    Ok(Report {
        name: "scale",
        method: format!(
            "{EXPORTS} exports and {IMPORTS} imports a library; {} rounds, in each of which every program is run by turns, \
             pinned to one CPU",
            rounds.join(", ")
        ),
        tables: vec![times(&found), divided(&found), counters(&found), goals(&found)],
        notes: vec![
            "The same libraries for all, made by GNU as and ld; half of the imports go through the PLT. Their program exits at \
             once, by a system call. glibc runs with LD_BIND_NOW=1."
                .to_owned(),
            "\"without imports\" are libraries with the same exports that import nothing: the time for mapping alone. The rest, \
             divided by the number of imports, is the time of a relocation."
                .to_owned(),
            "Before anything is timed, the program reads back every word that names a function of another library; the count \
             and the checksum are the same under slulrtld, glibc and musl."
                .to_owned(),
            "elf_loader and dlopen-rs are the crates of these names, in the versions of their Cargo.lock, without lazy binding, each in an ordinary program \
             that loads a library which needs all the others (`bench/elf_loader`, `bench/dlopen_rs`); that program's own start \
             is in the time. dlopen-rs can not number more than some 250 libraries. rustld 0.1.57, a crate that runs whole programs, is not here: it needs a nightly compiler \
             (`impl_trait_in_assoc_type`)."
                .to_owned(),
            "User and system time are what the kernel says of the runs, which it finds out at its ticks: for runs that may be \
             shorter than one it means nothing, and is left out."
                .to_owned(),
        ],
    })
}

fn measure(workshop: &Workshop<'_>, step: &Step, crates: &[Peer]) -> Result<Found> {
    let libraries = step.libraries;
    let build = |imports| Libraries::build(workshop.repo, Shape { libraries, imports });
    let (whole, bare) = (build(IMPORTS)?, build(0)?);
    let loader = text(&workshop.stage.loader)?;
    let program = |name: &str, interpreter, libraries: &Libraries| {
        program(workshop, &format!("{name}-{}", step.libraries), interpreter, "scale.c", &libraries.files)
    };
    let ours = program("slulrtld", loader, &whole)?;
    let without = program("slulrtld-without-imports", loader, &bare)?;
    let glibc = program("glibc", GLIBC, &whole)?;
    let musl = program("musl", MUSL, &whole)?;
    same_results(&[&ours, &glibc, &musl])?;
    let mut jobs = vec![
        Job::new(&ours, 0)?,
        Job::new(&without, 0)?,
        Job::new(&glibc, 0)?.variable(BIND_NOW.0, BIND_NOW.1),
        Job::new(&musl, 0)?,
    ];
    let needer = peer::needer(workshop, &whole.files)?;
    let able = |peer: &Peer| libraries <= peer.most;
    for peer in crates.iter().filter(|peer| able(peer)) {
        jobs.push(Job::new(&peer.program, 0)?.argument(text(&needer)?));
    }
    let mut samples = driver::measure(workshop, step.effort, &jobs)?.into_iter();
    let mut next = || samples.next().context("a sample for each job");
    let count = |program: &Path, variables: &[(&str, &str)]| {
        packages::VALGRIND.present().then(|| callgrind::instructions(program, variables, 0)).transpose()
    };
    Ok(Found {
        libraries,
        ours: next()?,
        ours_without_imports: next()?,
        glibc: next()?,
        musl: next()?,
        crates: crates.iter().map(|peer| able(peer).then(&mut next).transpose()).collect::<Result<_>>()?,
        instructions: [count(&ours, &[])?, count(&glibc, &[BIND_NOW])?],
        system_calls: [trace::system_calls(&ours, &[])?, trace::system_calls(&glibc, &[BIND_NOW])?],
    })
}

/// A program with all of the libraries, started by that interpreter.
pub(crate) fn program(
    workshop: &Workshop<'_>,
    name: &str,
    interpreter: &str,
    source: &str,
    libraries: &[PathBuf],
) -> Result<PathBuf> {
    let interpreter = format!("-Wl,--dynamic-linker={interpreter}");
    let mut options = vec!["-nostdlib", "-nostartfiles", "-fPIE", "-pie", "-fno-builtin", "-fno-stack-protector"];
    options.extend([interpreter.as_str(), "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]);
    let directory = libraries.first().and_then(|library| library.parent());
    let rpath = directory.map(|directory| Ok::<_, anyhow::Error>(format!("-Wl,-rpath,{}", text(directory)?)));
    let rpath = rpath.transpose()?;
    options.extend(rpath.as_deref());
    for library in libraries {
        options.push(text(library)?);
    }
    workshop.compile("gcc", name, source, &options)
}

/// Checks that all programs bind every import to the same function.
fn same_results(programs: &[&Path]) -> Result<()> {
    let said = |program: &Path| output(Command::new(program).arg("check").env(BIND_NOW.0, BIND_NOW.1));
    let (first, others) = programs.split_first().context("no program")?;
    let expected = said(first)?;
    for program in others {
        let said = said(program)?;
        ensure!(said == expected, "{} says {expected}, {} says {said}", first.display(), program.display());
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
fn number(count: u64) -> f64 {
    count as f64
}

fn median(times: &[f64]) -> f64 {
    Spread::of(times.iter().copied()).median
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / number(times.len() as u64)
}

/// The exponent of growth of the time between two numbers of libraries.
fn exponent(less: (u64, f64), more: (u64, f64)) -> f64 {
    (more.1 / less.1).ln() / (number(more.0) / number(less.0)).ln()
}

fn times(found: &[Found]) -> Table {
    let header = [
        "libraries",
        "slulrtld, ms",
        "without imports, ms",
        "ns a relocation",
        "glibc, ms",
        "musl, ms",
        "elf_loader, ms",
        "dlopen-rs, ms",
        "glibc to slulrtld (p10 to p90)",
        "page faults",
    ];
    let mut table = Table::new("From vfork to the end of the process", &header);
    for found in found {
        let milliseconds = |sample: &Sample| Cell::Figure(median(&sample.times) / 1e6, 2);
        let by_crate = |place| found.crates.get(place).and_then(Option::as_ref).map_or(Cell::None, milliseconds);
        table.push(vec![
            Cell::Count(found.libraries),
            milliseconds(&found.ours),
            milliseconds(&found.ours_without_imports),
            Cell::Figure(nanoseconds_a_relocation(found), 1),
            milliseconds(&found.glibc),
            milliseconds(&found.musl),
            by_crate(0),
            by_crate(1),
            Cell::Ratio(Spread::of_ratios(&found.glibc.times, &found.ours.times)),
            Cell::Figure(median(&found.ours.faults), 0),
        ]);
    }
    table
}

/// The times outside and inside the kernel.
fn divided(found: &[Found]) -> Table {
    let header = [
        "libraries",
        "slulrtld, user, ms",
        "slulrtld, system, ms",
        "without imports, user, ms",
        "without imports, system, ms",
        "glibc, user, ms",
        "glibc, system, ms",
    ];
    let mut table = Table::new("User and system time", &header);
    for found in found {
        let mut row = vec![Cell::Count(found.libraries)];
        for sample in [&found.ours, &found.ours_without_imports, &found.glibc] {
            let long_enough = median(&sample.times) / 1e6 >= TICK;
            let cell = |times| if long_enough { Cell::Figure(mean(times) / 1e6, 1) } else { Cell::None };
            row.extend([cell(&sample.user), cell(&sample.system)]);
        }
        table.push(row);
    }
    table
}

fn nanoseconds_a_relocation(found: &Found) -> f64 {
    let pairs = found.ours.times.iter().zip(&found.ours_without_imports.times);
    Spread::of(pairs.map(|(with, without)| with - without)).median / found.relocations()
}

fn counters(found: &[Found]) -> Table {
    let header = [
        "libraries",
        "slulrtld, instructions",
        "glibc, instructions",
        "slulrtld, system calls",
        "glibc, system calls",
    ];
    let mut table = Table::new("Whole runs, counted (instructions by valgrind's callgrind)", &header);
    for found in found {
        let [ours, glibc] = found.instructions.map(Cell::count);
        let [our_calls, glibc_calls] = found.system_calls.map(Cell::Count);
        table.push(vec![Cell::Count(found.libraries), ours, glibc, our_calls, glibc_calls]);
    }
    table
}

fn goals(found: &[Found]) -> Table {
    let mut table = Table::new("Goals", &["what", "figure", "goal"]);
    let [.., less, more] = found else { return table };
    let point = |found: &Found| (found.libraries, median(&found.ours.times));
    let grows = exponent(point(less), point(more));
    table.push(vec![
        Cell::text(format!("exponent from {} to {} libraries", less.libraries, more.libraries)),
        Cell::Figure(grows, 2),
        Cell::AtMost(grows, 1.2),
    ]);
    let faster = Spread::of_ratios(&more.glibc.times, &more.ours.times).median;
    table.push(vec![
        Cell::text(format!("times as fast as glibc, {} libraries", more.libraries)),
        Cell::Figure(faster, 2),
        Cell::AtLeast(faster, 10.0),
    ]);
    let each = nanoseconds_a_relocation(more);
    table.push(vec![
        Cell::text(format!("ns a relocation, {} libraries", more.libraries)),
        Cell::Figure(each, 1),
        Cell::AtMost(each, 60.0),
    ]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents() {
        assert!((exponent((200, 1.0), (800, 16.0)) - 2.0).abs() < 1e-9);
        assert!((exponent((10, 5.0), (1000, 500.0)) - 1.0).abs() < 1e-9);
    }
}
