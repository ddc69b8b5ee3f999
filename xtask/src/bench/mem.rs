//! The loader's memory functions beside glibc's, musl's and compiler_builtins', in one process.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::report::{Cell, Report, Table};
use super::spread::Spread;
use super::workshop::{Workshop, text};
use crate::audit::memory;
use crate::pin::on_one_cpu;
use crate::run::{output, run};

/// The measured functions.
const FUNCTIONS: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "strlen"];

/// Times of one function at one size: a figure for each round.
#[derive(Default)]
struct Times {
    glibc: Vec<f64>,
    ours: Vec<f64>,
    musl: Vec<f64>,
    /// Not without crates.
    builtins: Vec<f64>,
}

/// Measures them.
pub(crate) fn bench(workshop: &Workshop<'_>, rounds: usize, with_crates: bool) -> Result<Report> {
    let program = program(workshop, with_crates)?;
    // Where things lie in a process makes some differences, and stays the same as long as it lives.
    let said =
        on_one_cpu(|| (0..rounds).map(|_| output(&mut Command::new(&program))).collect::<Result<String>>())?;
    let times = parse(&said)?;
    let mut tables: Vec<Table> = FUNCTIONS.iter().map(|function| table(function, &times)).collect();
    tables.push(text_sizes(workshop)?);
    Ok(Report {
        name: "mem",
        method: format!(
            "{rounds} processes, pinned to one CPU; in each, every function is called at every size some thousand times, by \
             turns with its peers, at four pairs of alignments"
        ),
        tables,
        notes: vec![
            "glibc's functions are those that it chose for this processor (by CPUID); musl's are those of its libc.a; \
             compiler_builtins' are those of the crate of that name (`bench/compiler_builtins`), which Rust programs without \
             a libc get, for any x86_64; ours are the loader's source, compiled and linked in. A call goes through a pointer and takes some 1.7 ns of its own."
                .to_owned(),
            "Ours use SSE2: 16 bytes a load. Where glibc uses vectors of 32 or 64 bytes, and everything is in the first \
             caches, comparing and measuring can not keep up: they are bound by the number of loads."
                .to_owned(),
        ],
    })
}

/// Largest time of the loader's functions, as a ratio to glibc's.
fn goal(size: u64) -> f64 {
    match size {
        0..=256 | 4096.. => 1.25,
        _ => 2.0,
    }
}

fn table(function: &str, times: &BTreeMap<(String, u64), Times>) -> Table {
    let header = [
        "bytes",
        "glibc, ns",
        "slulrtld, ns",
        "musl, ns",
        "compiler_builtins, ns",
        "slulrtld to glibc (p10 to p90)",
        "goal",
    ];
    let mut table = Table::new(function, &header);
    for ((_, size), times) in times.iter().filter(|((name, _), _)| name == function) {
        let median = |times: &[f64]| match times {
            [] => Cell::None,
            times => Cell::Figure(Spread::of(times.iter().copied()).median, 2),
        };
        let ratio = Spread::of_ratios(&times.ours, &times.glibc);
        table.push(vec![
            Cell::Count(*size),
            median(&times.glibc),
            median(&times.ours),
            median(&times.musl),
            median(&times.builtins),
            Cell::Ratio(ratio),
            Cell::AtMost(ratio.median, goal(*size)),
        ]);
    }
    table
}

fn parse(said: &str) -> Result<BTreeMap<(String, u64), Times>> {
    let mut all: BTreeMap<_, Times> = BTreeMap::new();
    for line in said.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[function, size, glibc, ours, musl, ref builtins @ ..] = fields.as_slice() else {
            anyhow::bail!("fewer than five fields: {line}");
        };
        anyhow::ensure!(builtins.len() <= 1, "more than six fields: {line}");
        let times = all.entry((function.to_owned(), size.parse()?)).or_default();
        times.glibc.push(glibc.parse()?);
        times.ours.push(ours.parse()?);
        times.musl.push(musl.parse()?);
        for time in builtins {
            times.builtins.push(time.parse()?);
        }
    }
    anyhow::ensure!(!all.is_empty(), "nothing was measured");
    Ok(all)
}

/// All makers' functions in one program, under names of their own.
fn program(workshop: &Workshop<'_>, with_crates: bool) -> Result<PathBuf> {
    let ours = workshop.path("slul.o");
    let source = workshop.path("slul.rs");
    let root = workshop.repo.root();
    // With what the functions name of the loader's, in its place.
    let frames = root.join("rtld/src/run/cpu/x86_64/frames.rs");
    let frames = text(&frames)?;
    let program = format!(
        "#![no_std]\n#![allow(unused)]\nmod mem;\nmod run {{ pub(crate) mod cpu {{ #[path = {frames:?}] pub(crate) mod frames; }} }}\n"
    );
    std::fs::write(&source, program).context("write slul.rs")?;
    let folder = root.join("rtld/src/bin/slulrtld/cpu/x86_64/mem");
    symlink(folder, workshop.path("mem")).context("symlink mem")?;
    run(Command::new("rustc")
        .args(["--crate-type=lib", "--emit=obj", "-Cpanic=abort", "-Copt-level=s", "--edition=2024", "-o"])
        .args([&ours, &source]))?;
    let mut objects = vec![renamed(ours, "slul")?, renamed(musl(workshop)?, "musl")?];
    // Unused sections of an archive's members are left out, and with them their references.
    let mut options = vec!["-fno-builtin", "-Wl,--gc-sections"];
    if with_crates {
        objects.push(renamed(builtins(workshop)?, "builtins")?);
        options.push("-DBUILTINS");
    }
    for object in &objects {
        options.push(text(object)?);
    }
    workshop.compile("gcc", "beside", "mem.c", &options)
}

/// compiler_builtins' functions, in an archive.
fn builtins(workshop: &Workshop<'_>) -> Result<PathBuf> {
    let archive = workshop.path("builtins.a");
    let built = workshop.build_crate("compiler_builtins")?.join("libcompiler_builtins_peer.a");
    std::fs::copy(&built, &archive).with_context(|| format!("copy {}", built.display()))?;
    Ok(archive)
}

/// musl's functions, out of its archive.
fn musl(workshop: &Workshop<'_>) -> Result<PathBuf> {
    let together = workshop.path("musl.o");
    let wanted = FUNCTIONS.map(|function| format!("-Wl,--undefined={function}"));
    run(Command::new("musl-gcc").args(["-r", "-nostdlib"]).args(wanted).arg("-lc").arg("-o").arg(&together))?;
    Ok(together)
}

fn renamed(object: PathBuf, prefix: &str) -> Result<PathBuf> {
    let mut objcopy = Command::new("objcopy");
    for function in FUNCTIONS.iter().chain(&["bcmp"]) {
        objcopy.arg(format!("--redefine-sym={function}={prefix}_{function}"));
    }
    run(objcopy.arg(&object))?;
    Ok(object)
}

fn text_sizes(workshop: &Workshop<'_>) -> Result<Table> {
    let text = memory::text_of(&workshop.stage.unstripped)?;
    let mut table = Table::new("Machine code", &["what", "bytes", "goal"]);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    table.push(vec![
        Cell::text("memcpy, memmove, memset, memcmp, bcmp and strlen, together"),
        Cell::Count(text),
        Cell::AtMost(text as f64, 2048.0),
    ]);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_by_function_and_size() {
        let times = parse("memcpy 8 1.0 2.0 3.0\nmemcpy 8 1.5 2.5 3.5\nstrlen 0 1 1 1\n").unwrap();
        assert_eq!(times[&("memcpy".to_owned(), 8)].ours, [2.0, 2.5]);
        assert_eq!(times.len(), 2);
        assert!(parse("").is_err() && parse("memcpy 8 1.0\n").is_err());
        let times = parse("memcpy 8 1.0 2.0 3.0 4.0\n").unwrap();
        assert_eq!(times[&("memcpy".to_owned(), 8)].builtins, [4.0]);
        assert!(parse("memcpy 8 1.0 2.0 3.0 4.0 5.0\n").is_err());
    }
}
