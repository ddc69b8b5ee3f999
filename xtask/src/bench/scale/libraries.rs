//! Many libraries that import from each other, made by ordinary tools.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};

use crate::repo::Repo;
use crate::run::{output, run, step};

/// Functions that each library exports.
pub(crate) const EXPORTS: u64 = 200;

/// How many libraries, and how many functions each imports, from others, by chance: half through the PLT, half through
/// the GOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) libraries: u64,
    pub(crate) imports: u64,
}

/// Such libraries, built.
pub(crate) struct Libraries {
    /// All in one directory.
    pub(crate) files: Vec<PathBuf>,
}

/// Version of the libraries' recipe: to be raised if the built files change otherwise than by the shape.
const RECIPE: u32 = 2;

impl Libraries {
    /// Builds them in `target/bench/libraries-...`, unless they are there.
    pub(crate) fn build(repo: &Repo, shape: Shape) -> Result<Self> {
        let Shape { libraries, imports } = shape;
        let name = format!("bench/libraries-{libraries}-{imports}");
        let directory = repo.target().join(&name);
        let stamp = directory.join("made-of");
        let linker = output(Command::new("ld").arg("--version"))?;
        let made_of = format!("recipe {RECIPE}, {shape:?}, {}\n", linker.lines().next().unwrap_or_default());
        if fs::read_to_string(&stamp).ok().as_ref() != Some(&made_of) {
            step(format!("build {libraries} libraries with {EXPORTS} exports and {imports} imports each"));
            repo.fresh_dir(&name)?;
            in_parallel(libraries, |number| build(&directory, shape, number))?;
            fs::write(&stamp, &made_of).with_context(|| format!("write {}", stamp.display()))?;
        }
        let directory = fs::canonicalize(&directory)?;
        let files = (0..libraries).map(|number| directory.join(file_name(number))).collect();
        Ok(Self { files })
    }
}

fn file_name(number: u64) -> String {
    format!("lib{number:04}.so")
}

fn function(library: u64, number: u64) -> String {
    format!("lib{library:04}_module_function_{number:04}")
}

/// Calls `action` for each number below `count`, on all CPUs.
fn in_parallel(count: u64, action: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as u64;
            if number >= count {
                return Ok(());
            }
            action(number)?;
        }
    };
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a builder panicked"))?)
    })
}

fn build(directory: &Path, shape: Shape, number: u64) -> Result<()> {
    let path = |extension| directory.join(format!("{number}.{extension}"));
    let (source, object) = (path("s"), path("o"));
    fs::write(&source, assembly(shape, number)?).with_context(|| format!("write {}", source.display()))?;
    run(Command::new("as").arg("-o").args([&object, &source]))?;
    // gcc's options for ld, without the cost of gcc.
    run(Command::new("ld")
        .args([
            "-shared",
            "--no-ld-generated-unwind-info",
            "--hash-style=gnu",
            "-soname",
            &file_name(number),
            "-o",
        ])
        .args([&directory.join(file_name(number)), &object]))?;
    for made in [source, object] {
        fs::remove_file(&made).with_context(|| format!("remove {}", made.display()))?;
    }
    Ok(())
}

fn assembly(shape: Shape, library: u64) -> Result<String> {
    let mut text = ".text\n".to_owned();
    for number in 0..EXPORTS {
        let name = function(library, number);
        let label = format!(".globl {name}\n.type {name}, @function\n{name}:");
        writeln!(text, "{label} mov ${number}, %eax\n ret\n.size {name}, . - {name}")?;
    }
    let user = format!("lib{library:04}_use");
    writeln!(text, ".globl {user}\n.type {user}, @function\n{user}:")?;
    for (place, (of, number)) in imports(shape, library).into_iter().enumerate() {
        let name = function(of, number);
        match place % 2 {
            0 => writeln!(text, " call {name}@PLT")?,
            _ => writeln!(text, " mov {name}@GOTPCREL(%rip), %rax")?,
        }
    }
    writeln!(text, " ret\n.size {user}, . - {user}\n.section .note.GNU-stack, \"\", @progbits")?;
    Ok(text)
}

/// Library and number of each function that a library imports: the same ones every time.
fn imports(shape: Shape, library: u64) -> BTreeSet<(u64, u64)> {
    let mut chosen = BTreeSet::new();
    let mut state = library;
    while shape.libraries > 1 && (chosen.len() as u64) < shape.imports {
        let of = random(&mut state) % shape.libraries;
        if of != library {
            chosen.insert((of, random(&mut state) % EXPORTS));
        }
    }
    chosen
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_others_functions_and_always_the_same() {
        let shape = Shape { libraries: 10, imports: 200 };
        let chosen = imports(shape, 3);
        assert_eq!(chosen.len(), 200);
        assert!(chosen.iter().all(|&(of, number)| of != 3 && of < 10 && number < EXPORTS));
        assert_eq!(chosen, imports(shape, 3));
        assert_ne!(chosen, imports(shape, 4));
        assert!(imports(Shape { libraries: 1, imports: 200 }, 0).is_empty());
    }

    #[test]
    fn half_go_through_the_plt() {
        let text = assembly(Shape { libraries: 10, imports: 200 }, 0).unwrap();
        assert_eq!(text.matches("@PLT").count(), 100);
        assert_eq!(text.matches("@GOTPCREL").count(), 100);
        assert_eq!(text.matches(".globl ").count() as u64, EXPORTS + 1);
    }
}
