//! A program by every way in sees the same, except where `docs/ways-in.md` says otherwise.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use abi::arch::NATIVE;
use abi::paths::{RUNSLUL, SLULBIN};
use anyhow::{Context, Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::stage::Stage;

use crate::table::Row;
use tests::linked::{Link, Programs};
use tests::root::{Holds, Root};

/// A way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// How the program is linked.
    link: Link,
    /// `slulbin`'s subcommand that makes the executed file.
    made_by: Option<&'static str>,
    /// Path of the executed link.
    path: &'static str,
    /// The executed loader and its arguments before the program's own; empty if the program itself is executed.
    loader: &'static [&'static str],
    /// Whether binfmt_misc has to be there.
    pub(crate) binfmt: bool,
}

const DIRECT: Way = Way { name: "", link: Link::Bare, made_by: None, path: "./link", loader: &[], binfmt: false };

/// All ways in. The others are compared with the first one.
pub(crate) const WAYS: [Way; 10] = [
    Way { name: "PT_INTERP", link: Link::Interpreter, ..DIRECT },
    Way { name: "rt0.o", link: Link::Stub("rt0.o"), ..DIRECT },
    Way { name: "rt0-map.o", link: Link::Stub("rt0-map.o"), ..DIRECT },
    Way { name: "rt0-embed.o", link: Link::Stub("rt0-embed.o"), ..DIRECT },
    Way { name: "binfmt_misc, by e_flags", made_by: Some("mark"), binfmt: true, ..DIRECT },
    Way { name: "binfmt_misc, by extension", path: "./link.slulb", binfmt: true, ..DIRECT },
    Way { name: "runslul PROGRAM", loader: &["runslul"], ..DIRECT },
    Way { name: "runslul --argv0 NAME PROGRAM", loader: &["runslul", "--argv0", GIVEN], ..DIRECT },
    Way { name: "runslul --exec-fd N PROGRAM", loader: &["runslul", "--exec-fd", "{fd}"], ..DIRECT },
    Way { name: "#!/usr/bin/runslul", made_by: Some("shebang"), ..DIRECT },
];

/// argv[0] from the caller of execve(2).
const GIVEN: &str = "given/name";

/// Path of the loader in the root.
const LOADER: &str = NATIVE.paths.loader;

/// The program's file in the root.
const FILE: &str = "/work/report";

/// Runs the report by one way in, and returns the keys and values that it prints.
fn report(way: &Way, object: &str, programs: &Programs, stage: &Stage) -> Result<Vec<(String, String)>> {
    let root = Root::new(stage, Holds { binfmt: way.binfmt, ..Holds::ALL })?;
    install(&programs.launcher(), &root.work("launch"))?;
    programs.report_of(way.link, object, &["-lz", "-lc"], &root.work("report"))?;
    if let Some(subcommand) = way.made_by {
        let (from, to) = (root.work("linked"), root.work("report"));
        fs::rename(&to, &from)?;
        let mut slulbin = Command::new(stage.file(SLULBIN));
        run(slulbin.arg(subcommand).arg(&from).arg("-o").arg(&to))?;
    }
    symlink("report", root.work(way.path))?;
    let mut words = vec!["cwd=/work"];
    words.extend(way.loader.contains(&"{fd}").then_some("open=report"));
    words.push("--");
    match way.loader {
        [] => words.extend([way.path, GIVEN]),
        loader => {
            words.push(RUNSLUL);
            words.extend(loader);
            words.push(way.path);
        }
    }
    words.extend(["", "--help", "last"]);
    let outcome = root.launch(&words)?;
    parse(&outcome).with_context(|| outcome.shown(way.name))
}

fn parse(outcome: &Outcome) -> Result<Vec<(String, String)>> {
    ensure!(outcome.ending == Ending::Exit(SUCCESS) && outcome.stderr.is_empty(), "not as it should end");
    let pairs = outcome.stdout.lines().map(|line| line.split_once(": ").context("a line without a key"));
    pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

/// The value of a word of the table.
fn meaning<'w>(word: &str, way: &'w Way) -> Result<&'w str> {
    Ok(match word {
        "given" => GIVEN,
        "path" => way.path,
        "file" => FILE,
        "loader" => LOADER,
        _ => return Err(anyhow::anyhow!("{word}: not a word of the table")),
    })
}

/// Checks one way in against the table and the first of all.
pub(crate) fn check(way: &Way, object: &str, row: &Row, programs: &Programs, stage: &Stage) -> Result<()> {
    let mut found = report(way, object, programs, stage)?;
    for (column, word) in row {
        let place = found.iter().position(|(key, _)| key == column);
        let (_, value) = found.remove(place.with_context(|| format!("the report does not say {column}"))?);
        let expected = meaning(word, way)?;
        let expected = match column.as_str() {
            "comm" => expected.rsplit('/').next().unwrap_or_default(),
            _ => expected,
        };
        ensure!(value == expected, "{column} is {value}, and not {expected}, which the table says by `{word}`");
    }
    let mut ordinary = report(&WAYS[0], object, programs, stage)?;
    ordinary.retain(|(key, _)| !row.contains_key(key));
    ensure!(found == ordinary, "\n{found:#?}\ninstead of\n{ordinary:#?}");
    Ok(())
}
