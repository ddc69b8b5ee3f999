//! DT_NEEDED very deep, very wide, and in circles.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtld::elf::consts;
use tests::damage::install;
use tests::launch::Ending;
use tests::start::Start;
use tests::workdir::Workdir;

use tests::tracer::Tracee;
use tests::verdict::{Complaints, runs};
use tests::world::Case;

/// Longest time for the largest of them, with either loader.
const SANE: Duration = Duration::from_secs(10);

/// A tag that no loader reads.
const DT_CHECKSUM: u64 = 0x6fff_fdf8;

/// Position of PT_DYNAMIC, after the file header and two program headers.
const DYNAMIC: usize = 64 + 2 * 56;

/// exit_group(17)
const CODE: [u8; 12] = [0xbf, 17, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05];

/// The search path of an object for its needs.
#[derive(Clone, Copy)]
enum Search {
    /// By DT_RUNPATH.
    Runpath,
    /// By DT_RPATH.
    Rpath,
    /// None of its own.
    Nowhere,
}

impl Search {
    /// The dynamic tag of the search path.
    fn tag(self) -> u64 {
        match self {
            Self::Runpath => consts::DT_RUNPATH,
            Self::Rpath => consts::DT_RPATH,
            Self::Nowhere => DT_CHECKSUM,
        }
    }
}

/// A file with one segment, of which PT_DYNAMIC is a part, and the code of a program that succeeds.
fn tiny(soname: &str, search: Search, needed: &[String]) -> Vec<u8> {
    let mut strings = vec![0];
    let mut dynamic = Vec::new();
    let names = [(consts::DT_SONAME, soname)].into_iter();
    for (tag, name) in names.chain(needed.iter().map(|name| (consts::DT_NEEDED, name.as_str()))) {
        dynamic.push((tag, strings.len()));
        strings.extend(name.bytes().chain([0]));
    }
    dynamic.push((search.tag(), strings.len()));
    strings.extend(*b"$ORIGIN\0");
    let code = DYNAMIC + (dynamic.len() + 5) * 16;
    let symbols = code + 16;
    let table = symbols + 24;
    dynamic.push((consts::DT_SYMTAB, symbols));
    dynamic.push((consts::DT_SYMENT, 24));
    dynamic.push((consts::DT_STRTAB, table));
    dynamic.push((consts::DT_STRSZ, strings.len()));
    dynamic.push((consts::DT_NULL, 0));
    let size = table + strings.len();

    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    let word = |value: usize| value.to_le_bytes();
    file.extend([3u8, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([word(code), word(64), word(0)].concat());
    file.extend([0u8, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let dynamic_size = code - DYNAMIC;
    // PT_LOAD with PF_R and PF_X; PT_DYNAMIC with PF_R.
    file.extend([1u8, 0, 0, 0, 5, 0, 0, 0]);
    file.extend([word(0), word(0), word(0), word(size), word(size), word(4096)].concat());
    file.extend([2u8, 0, 0, 0, 4, 0, 0, 0]);
    let place = [word(DYNAMIC), word(DYNAMIC), word(DYNAMIC), word(dynamic_size), word(dynamic_size), word(8)];
    file.extend(place.concat());
    for (tag, value) in dynamic {
        file.extend(tag.to_le_bytes());
        file.extend(word(value));
    }
    file.extend(CODE);
    file.resize(symbols + 24, 0);
    file.extend(strings);
    file
}

fn name(number: usize) -> String {
    format!("l{number}")
}

/// A program, which is number 0, and its libraries.
struct Tree<'c> {
    case: Case<'c>,
    workdir: Workdir,
    count: usize,
}

impl<'c> Tree<'c> {
    /// Writes `count` libraries and the program. Object number n needs the objects `needs(n)`, and has the search path
    /// `search(n)`.
    fn new(
        case: Case<'c>,
        count: usize,
        search: fn(usize) -> Search,
        needs: impl Fn(usize) -> Vec<usize>,
    ) -> Result<Self> {
        let workdir = Workdir::new()?;
        for number in 0..=count {
            let needed: Vec<_> = needs(number).into_iter().map(name).collect();
            fs::write(workdir.path().join(name(number)), tiny(&name(number), search(number), &needed))?;
        }
        Ok(Self { case, workdir, count })
    }

    /// Its directory.
    fn dir(&self) -> &Path {
        self.workdir.path()
    }

    /// Runs the program with the usual limit of descriptors.
    fn run(&self, env: Option<&str>) -> Result<()> {
        let start = self.case.direct(&executable(&self.dir().join(name(0)))?);
        let tracee = Tracee::start(&env.iter().fold(start, |start, string| start.env(string)))?;
        tracee.limit("nofile", 1024)?;
        let began = Instant::now();
        let outcome = tracee.finish()?;
        let spent = began.elapsed();
        runs(&outcome, "")?;
        ensure!(spent < SANE, "{spent:?} for {} libraries", self.count);
        Ok(())
    }
}

/// A copy of a file that can be executed.
fn executable(path: &Path) -> Result<PathBuf> {
    let copy = path.with_extension("program");
    install(path, &copy)?;
    Ok(copy)
}

/// Runs a tree in which every object has a search path.
fn run(case: Case<'_>, count: usize, needs: impl Fn(usize) -> Vec<usize>) -> Result<()> {
    Tree::new(case, count, |_| Search::Runpath, needs)?.run(None)
}

/// A chain of 10 000 libraries. First only the program has a search path, so that each search goes up the whole chain;
/// then only the environment has one.
pub(crate) fn deep(case: Case<'_>) -> Result<()> {
    const COUNT: usize = 10_000;
    let next = |number| if number < COUNT { vec![number + 1] } else { Vec::new() };
    let search = |number| if number == 0 { Search::Rpath } else { Search::Nowhere };
    let tree = Tree::new(case, COUNT, search, next)?;
    tree.run(None).context("by DT_RPATH of the program")?;
    fs::write(tree.dir().join(name(0)), tiny(&name(0), Search::Nowhere, &[name(1)]))?;
    let variable = format!("LD_LIBRARY_PATH={}", tree.dir().display());
    tree.run(Some(&variable)).context("by LD_LIBRARY_PATH")
}

/// A program that needs 1000 libraries.
pub(crate) fn wide(case: Case<'_>) -> Result<()> {
    run(case, 1000, |number| if number == 0 { (1..=1000).collect() } else { Vec::new() })
}

/// 100 libraries that all need each other, and themselves.
pub(crate) fn all_of_all(case: Case<'_>) -> Result<()> {
    run(case, 100, |_| (1..=100).collect())
}

/// A cycle of 1000 libraries, one of a single library, and one with the program.
pub(crate) fn circles(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for count in [1, 2, 1000] {
        let circle = run(case, count, |number| vec![if number < count { number + 1 } else { 1 }]);
        complaints.note(format!("a circle of {count}"), circle);
        let with_program = run(case, count, |number| vec![if number < count { number + 1 } else { 0 }]);
        complaints.note(format!("a circle of {count} and the program"), with_program);
    }
    complaints.note("one that needs itself", run(case, 0, |_| vec![0]));
    complaints.verdict()
}

/// 300 native libraries, each of which needs the 20 after it: that one of the last is missing is said.
pub(crate) fn natives(case: Case<'_>) -> Result<()> {
    const COUNT: usize = 300;
    let workdir = Workdir::new()?;
    for number in 0..COUNT {
        let next = (number + 1..=number + 20).filter(|&number| number <= COUNT).map(name);
        let needed: Vec<_> = iter::once("libc.so.6".to_owned()).filter(|_| number != 0).chain(next).collect();
        fs::write(workdir.path().join(name(number)), tiny(&name(number), Search::Runpath, &needed))?;
    }
    let outcome = Start::new(&case.world.stage.loader(), case.user)
        .arg("--list")
        .arg(workdir.path().join(name(0)).to_string_lossy())
        .run()?;
    let missing = format!("\t{} => not found; ", name(COUNT));
    let said = outcome.stdout.matches(" => not found; ").count() == 1 && outcome.stdout.contains(&missing);
    ensure!(said && outcome.ending == Ending::Exit(0), "{outcome:?}");
    Ok(())
}
