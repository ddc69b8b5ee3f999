//! Size of the loader: in the file system, and in unshared memory.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use abi::libcs::Libc;
use anyhow::{Context, Result};

use super::report::{Cell, Report, Table};
use super::scale::libraries::{Libraries, Shape};
use super::scale::program;
use super::workshop::{Workshop, text};
use crate::audit::image::Image;

const KIB: f64 = 1024.0;

/// Loaders, by their paths in PT_INTERP.
const OTHERS: [(&str, &str); 2] = [("glibc", Libc::Gnu.interpreter()), ("musl", Libc::Musl.interpreter())];

/// Numbers of libraries.
const LIBRARIES: [u64; 3] = [0, 1, 10];

/// Unshared memory that a process has written to (Private_Dirty of proc(5)), in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Dirty {
    /// In the loader's own segments.
    loader: f64,
    /// In anonymous mappings without the stack: the loader's allocations.
    anonymous: f64,
}

/// Measures it.
pub(crate) fn bench(workshop: &Workshop<'_>) -> Result<Report> {
    let ours = workshop.stage.loader.as_path();
    Ok(Report {
        name: "size",
        method: "files as installed; one process of each kind, looked at in /proc".to_owned(),
        tables: vec![sections(ours)?, files(ours)?, dirty(workshop, ours)?],
        notes: vec![
            "Dirty memory is Private_Dirty of /proc/PID/smaps while the program, which has no libc and no data of its own, waits: the loader's segments, and mappings without a file but for the stack."
                .to_owned(),
        ],
    })
}

fn sections(loader: &Path) -> Result<Table> {
    let image = Image::read(loader)?;
    let mut table = Table::new("slulrtld, stripped, by section", &["section", "bytes"]);
    let mut sections: Vec<_> = image.sections.iter().map(|s| (s.range.end - s.range.start, &s.name)).collect();
    sections.sort_by(|a, b| b.cmp(a));
    for (size, name) in sections {
        table.push(vec![Cell::text(name), Cell::Count(size)]);
    }
    Ok(table)
}

fn files(ours: &Path) -> Result<Table> {
    let mut table = Table::new("Files", &["loader", "KiB", "goal"]);
    let kib = |path: &Path| Ok::<_, anyhow::Error>(float(fs::metadata(path)?.len()) / KIB);
    let size = kib(ours)?;
    table.push(vec![Cell::text("slulrtld"), Cell::Figure(size, 1), Cell::AtMost(size, 64.0)]);
    for (name, path) in OTHERS {
        table.push(vec![Cell::text(name), Cell::Figure(kib(Path::new(path))?, 1), Cell::None]);
    }
    Ok(table)
}

fn dirty(workshop: &Workshop<'_>, ours: &Path) -> Result<Table> {
    let header = ["loader", "libraries", "own segments, KiB", "own memory, KiB", "together", "goal"];
    let mut table = Table::new("Private dirty memory", &header);
    let loaders = [("slulrtld", text(ours)?)].into_iter().chain(OTHERS);
    for (name, loader) in loaders {
        for count in LIBRARIES {
            let found = dirty_of(workshop, name, loader, count)?;
            let together = found.loader + found.anonymous;
            let verdict = match (name, count) {
                // No part of nothing.
                ("slulrtld", 0) => Cell::text(if together > 0.0 { "0: **missed**" } else { "0: met" }),
                ("slulrtld", _) => Cell::AtMost(together, 8.0),
                _ => Cell::None,
            };
            table.push(vec![
                Cell::text(name),
                Cell::Count(count),
                Cell::Figure(found.loader, 0),
                Cell::Figure(found.anonymous, 0),
                Cell::Figure(together, 0),
                verdict,
            ]);
        }
    }
    Ok(table)
}

fn dirty_of(workshop: &Workshop<'_>, name: &str, loader: &str, count: u64) -> Result<Dirty> {
    let files: Vec<PathBuf> = match count {
        0 => Vec::new(),
        libraries => Libraries::build(workshop.repo, Shape { libraries, imports: 200 })?.files,
    };
    let program = program(workshop, &format!("{name}-{count}"), loader, "pause.c", &files)?;
    let mut child = Command::new(&program).stdout(Stdio::piped()).spawn().context("start a program that waits")?;
    let looked_at = (|| {
        let mut ready = [0];
        child.stdout.take().context("its output")?.read_exact(&mut ready).context("it said nothing")?;
        fs::read_to_string(format!("/proc/{}/smaps", child.id())).context("smaps")
    })();
    child.kill().context("end it")?;
    child.wait().context("end it")?;
    parse(&looked_at?, text(&fs::canonicalize(loader)?)?)
}

/// Adds up Private_Dirty of the loader's segments and of anonymous mappings.
fn parse(smaps: &str, loader: &str) -> Result<Dirty> {
    let mut dirty = Dirty::default();
    let mut path = None;
    for line in smaps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let first = fields.next().unwrap_or_default();
        if !first.ends_with(':') {
            // start-end, rights, offset, device, inode, and name.
            path = Some(fields.nth(4).unwrap_or_default());
        } else if first == "Private_Dirty:" {
            let kib: f64 = fields.next().context("Private_Dirty without a figure")?.parse()?;
            match path.context("a figure before any mapping")? {
                "" | "[heap]" => dirty.anonymous += kib,
                file if file == loader => dirty.loader += kib,
                _ => {}
            }
        }
    }
    anyhow::ensure!(path.is_some(), "no mapping");
    Ok(dirty)
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_memory_is_added_up() {
        let smaps = "\
7f00-7f01 rw-p 00000000 00:01 12   /lib/loader\nSize: 8 kB\nPrivate_Dirty:         4 kB\n\
7f01-7f02 rw-p 00000000 00:00 0 \nPrivate_Dirty:         8 kB\n\
7f02-7f03 rw-p 00000000 00:00 0    [heap]\nPrivate_Dirty:         12 kB\n\
7f03-7f04 rw-p 00000000 00:00 0    [stack]\nPrivate_Dirty:         16 kB\n\
7f04-7f05 rw-p 00000000 00:01 13   /lib/other\nPrivate_Dirty:         32 kB\n";
        assert_eq!(parse(smaps, "/lib/loader").unwrap(), Dirty { loader: 4.0, anonymous: 20.0 });
        assert!(parse("", "/lib/loader").is_err());
    }
}
