//! Costs of a start: from vfork to the end of a process that does next to nothing.

use abi::arch::NATIVE;
use abi::paths::in_tree;
use anyhow::{Context, Result};

use super::driver::Effort;
use super::processes::{Comparison, Contender, Goals};
use super::report::Report;
use super::scale::peer;
use super::workshop::{Workshop, text};
use crate::least::{Least, Link, STATUS};

const STATIC: &str = "static";
const TRIVIAL_PIE: &str = "PIE under the trivial interpreter";
const TRIVIAL_EXEC: &str = "ET_EXEC under the trivial interpreter";
const PLAIN_PIE: &str = "PIE under slulrtld";
const PLAIN_EXEC: &str = "ET_EXEC under slulrtld";
const UNUSED: &str = "slulrtld, libc named and not used";
const LIBRARY: &str = "slulrtld, one library";
const NATIVES: &str = "slulrtld, 30 native libraries by DT_RUNPATH, none called";
const MUSL_DYNAMIC: &str = "musl, dynamic hello";
const GLIBC_DYNAMIC: &str = "glibc, dynamic hello";

/// Measures it.
pub(crate) fn bench(workshop: &Workshop<'_>, effort: Effort, with_crates: bool) -> Result<Report> {
    let comparison = Comparison::run(workshop, effort, contenders(workshop, with_crates)?)?;
    let times = |label| comparison.times(label);
    let mut goals = Goals::new();
    let plain = times(PLAIN_PIE)?;
    goals.at_most("plain start, PIE, to the trivial interpreter", plain, times(TRIVIAL_PIE)?, 1.05);
    goals.at_most(
        "plain start, ET_EXEC, to the trivial interpreter",
        times(PLAIN_EXEC)?,
        times(TRIVIAL_EXEC)?,
        1.05,
    );
    goals.at_most("plain start to musl's dynamic hello", plain, times(MUSL_DYNAMIC)?, 0.5);
    goals.at_most("plain start to glibc's dynamic hello", plain, times(GLIBC_DYNAMIC)?, 0.25);
    goals.at_most("libc named and not used, to the plain start", times(UNUSED)?, plain, 1.25);
    goals.at_most("30 native libraries, none called, to the plain start", times(NATIVES)?, plain, 2.0);
    Ok(Report {
        name: "start",
        method: effort.method("each program"),
        tables: vec![comparison.table("From vfork to the end of the process", STATIC)?, goals.table()],
        notes: vec![
            "The programs without libc exit at once; the hellos write a line to /dev/null. The trivial interpreter has one \
             segment and does nothing but look for AT_ENTRY and jump there."
                .to_owned(),
            "The crates load a library that needs the one library, each in an ordinary program (`bench/elf_loader`, \
             `bench/dlopen_rs`), whose own start is in the figures."
                .to_owned(),
            "System calls and instructions are those of one run, executed step by step, without what the kernel does in \
             execve; page faults are the means of the timed runs, in which execve's are counted too."
                .to_owned(),
        ],
    })
}

fn contenders(workshop: &Workshop<'_>, with_crates: bool) -> Result<Vec<Contender>> {
    let least = Least::new(workshop.repo, workshop.directory().to_owned());
    let trivial = least.interpreter()?;
    let loader = &workshop.stage.loader;
    let bare =
        |label, name, link| Ok::<_, anyhow::Error>(Contender::new(label, least.program(name, link)?, STATUS));
    let mut contenders = vec![
        bare(STATIC, "static", Link::Static)?,
        bare("static PIE", "static-pie", Link::StaticPie)?,
        bare(TRIVIAL_EXEC, "trivial-exec", Link::Exec(&trivial))?,
        bare(TRIVIAL_PIE, "trivial-pie", Link::Pie(&trivial))?,
        bare(PLAIN_EXEC, "plain-exec", Link::Exec(loader))?,
        bare(PLAIN_PIE, "plain-pie", Link::Pie(loader))?,
        Contender::new(UNUSED, unused(workshop)?, 0),
        Contender::new(LIBRARY, one_library(workshop)?, STATUS),
        Contender::new(NATIVES, natives(workshop)?, 0),
        Contender::new(
            "musl, static hello",
            workshop.compile("musl-gcc", "musl-static", "hello.c", &["-static"])?,
            0,
        ),
        Contender::new(MUSL_DYNAMIC, workshop.compile("musl-gcc", "musl-dynamic", "hello.c", &[])?, 0),
    ];
    // Such a program leaves the caches cold for the next one, so a program that is no reference for ratios follows it.
    if with_crates {
        contenders.extend(crates(workshop)?);
    }
    contenders.extend([
        Contender::new(
            "glibc, static hello",
            workshop.compile("gcc", "glibc-static", "hello.c", &["-static"])?,
            0,
        ),
        Contender::new(GLIBC_DYNAMIC, workshop.compile("gcc", "glibc-dynamic", "hello.c", &[])?, 0),
    ]);
    Ok(contenders)
}

/// Programs that load the library by a crate.
fn crates(workshop: &Workshop<'_>) -> Result<Vec<Contender>> {
    let needer = peer::needer(workshop, &[workshop.path("libone.so")])?;
    let contender = |peer: peer::Peer| {
        let label = format!("{}, one library", peer.name);
        Ok(Contender::new(label, peer.program, 0).argument(text(&needer)?))
    };
    peer::crates(workshop)?.into_iter().map(contender).collect()
}

/// A program that names libc and, without an argument, does not use it.
pub(crate) fn unused(workshop: &Workshop<'_>) -> Result<std::path::PathBuf> {
    workshop.libc_free("first-call", "first_call.c", &["-lc"])
}

/// How many native libraries a program has that calls none of them.
pub(crate) const NATIVE_LIBRARIES: u64 = 30;

/// A program whose DT_RUNPATH leads to native libraries, and which, without an argument, calls nothing.
pub(crate) fn natives(workshop: &Workshop<'_>) -> Result<std::path::PathBuf> {
    let library = ["-DLIBRARY", "-shared", "-fPIC", "-Wl,--no-as-needed", "-lc"];
    let made = workshop.compile("gcc", "libnative-1.so", "one_library.c", &library)?;
    let mut options = vec![format!("-Wl,-rpath,{}", text(workshop.directory())?), "-Wl,--no-as-needed".to_owned()];
    for number in 1..=NATIVE_LIBRARIES {
        let path = workshop.path(&format!("libnative-{number}.so"));
        if path != made {
            std::fs::copy(&made, &path).with_context(|| path.display().to_string())?;
        }
        options.push(format!("-lnative-{number}"));
    }
    options.push("-lc".to_owned());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    workshop.libc_free("natives", "first_call.c", &options)
}

/// A program that can open libraries and, without an argument, opens none.
pub(crate) fn opens_nothing(workshop: &Workshop<'_>) -> Result<std::path::PathBuf> {
    let stub = workshop.stage.root.join(in_tree(NATIVE.paths.link_stub));
    workshop.libc_free("opens-nothing", "opens_nothing.c", &[text(&stub)?])
}

/// A program with one library.
pub(crate) fn one_library(workshop: &Workshop<'_>) -> Result<std::path::PathBuf> {
    let library = ["-DLIBRARY", "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libone.so"];
    workshop.compile("gcc", "libone.so", "one_library.c", &library)?;
    let origin = format!("-Wl,-rpath,{}", text(workshop.directory())?);
    workshop.libc_free("one-library", "one_library.c", &["-lone", &origin])
}
