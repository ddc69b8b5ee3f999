//! Costs of a start without PT_INTERP, by each of rt0's stubs.

use std::path::Path;

use anyhow::{Context, Result};

use super::driver::Effort;
use super::processes::{Comparison, Contender, Goals};
use super::report::Report;
use super::workshop::Workshop;
use crate::least::{Least, Link, STATUS};
use crate::rt0::{self, Kind};

const STATIC: &str = "static";
const INTERPRETER: &str = "PIE, slulrtld in PT_INTERP";

/// Stubs: kind, names of its programs, and their largest ratio to a static program.
const STUBS: [(Kind, [&str; 2], f64); 3] = [
    (Kind::Execute, ["rt0.o, PIE", "rt0.o, ET_EXEC"], 1.75),
    (Kind::Map, ["rt0-map.o, PIE", "rt0-map.o, ET_EXEC"], 1.2),
    (Kind::Embed, ["rt0-embed.o, PIE", "rt0-embed.o, ET_EXEC"], 1.2),
];

/// Measures it.
pub(crate) fn bench(workshop: &Workshop<'_>, effort: Effort) -> Result<Report> {
    let comparison = Comparison::run(workshop, effort, contenders(workshop)?)?;
    let mut goals = Goals::new();
    for (_, labels, goal) in STUBS {
        for label in labels {
            goals.at_most(label, comparison.times(label)?, comparison.times(STATIC)?, goal);
        }
    }
    Ok(Report {
        name: "rt0",
        method: effort.method("each program"),
        tables: vec![comparison.table("From vfork to the end of the process", STATIC)?, goals.table()],
        notes: vec![
            "All programs exit at once. rt0.o and rt0-map.o find the staged loader where they look for the installed one; \
             rt0-embed.o finds none there, and runs its own."
                .to_owned(),
        ],
    })
}

fn contenders(workshop: &Workshop<'_>) -> Result<Vec<Contender>> {
    let least = Least::new(workshop.repo, workshop.directory().to_owned());
    let loader = &workshop.stage.loader;
    let mut contenders = vec![
        program(&least, STATIC, "static", Link::Static)?,
        program(&least, "static PIE", "static-pie", Link::StaticPie)?,
        program(&least, INTERPRETER, "interpreter", Link::Pie(loader))?,
    ];
    for (kind, [pie, exec], _) in STUBS {
        let object = Path::new(kind.object(workshop.repo.arch()));
        let object = object.file_name().context("a file name")?.to_string_lossy();
        let stub = workshop.path(&object);
        let nowhere = workshop.path("no-loader");
        let path = if kind == Kind::Embed { &nowhere } else { loader };
        rt0::build(workshop.repo, kind, path, loader, &stub)?;
        let name = object.trim_end_matches(".o");
        contenders.push(program(&least, pie, &format!("{name}-pie"), Link::PieStub(&stub))?);
        contenders.push(program(&least, exec, &format!("{name}-exec"), Link::ExecStub(&stub))?);
    }
    Ok(contenders)
}

fn program(least: &Least, label: &'static str, name: &str, link: Link<'_>) -> Result<Contender> {
    Ok(Contender::new(label, least.program(name, link)?, STATUS))
}
