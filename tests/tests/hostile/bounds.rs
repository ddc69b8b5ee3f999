//! Memory and time are linear in what is read: names that share their bytes, long search paths, many directories.
//!
//! Each file is far smaller than the memory that it may take, and copies of what its tables name would take far more.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use rtld::elf::consts;
use tests::launch::{Ending, Outcome};
use tests::start::Start;
use tests::tracer::Tracee;
use tests::verdict::{Complaints, REFUSED};
use tests::workdir::Workdir;
use tests::world::Case;

/// Address space of the loader in bytes: itself, the file, its tables.
const ROOM: u64 = 96 << 20;

/// A library of one segment, readable and writable, made of tables alone.
#[derive(Default)]
struct Tables {
    /// DT_STRTAB; offset 0 is the empty string.
    strings: Vec<u8>,
    /// Entries of PT_DYNAMIC besides those of the tables.
    entries: Vec<(u64, u64)>,
    /// Offsets of the names of symbols, and whether the symbols are defined.
    symbols: Vec<(u32, bool)>,
    /// Whether each symbol has a relocation (R_X86_64_GLOB_DAT).
    referred: bool,
}

impl Tables {
    fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    fn string(&mut self, text: &str) -> u64 {
        let offset = self.strings.len();
        self.strings.extend(text.bytes().chain([0]));
        u64::try_from(offset).unwrap_or(0)
    }

    fn entry(mut self, tag: u64, value: u64) -> Self {
        self.entries.push((tag, value));
        self
    }

    fn text(mut self, tag: u64, text: &str) -> Self {
        let offset = self.string(text);
        self.entry(tag, offset)
    }

    /// The file, and its size.
    fn file(&self) -> Vec<u8> {
        const DYNAMIC: usize = 64 + 2 * 56;
        let word = |value: usize| value.to_le_bytes();
        let count = self.symbols.len() + 1;
        let symbols = DYNAMIC + (self.entries.len() + 16) * 16;
        let relas = symbols + count * 24;
        let hash = relas + if self.referred { count * 24 } else { 0 };
        let slots = hash + 12 + count * 4;
        let slots = slots.next_multiple_of(8);
        let strings = slots + count * 8;
        let size = strings + self.strings.len();
        let mut dynamic: Vec<(u64, usize)> = Vec::new();
        dynamic.extend(self.entries.iter().map(|&(tag, value)| (tag, usize::try_from(value).unwrap_or(0))));
        dynamic.extend([(consts::DT_SYMTAB, symbols), (consts::DT_SYMENT, 24), (consts::DT_HASH, hash)]);
        dynamic.extend([(consts::DT_STRTAB, strings), (consts::DT_STRSZ, self.strings.len())]);
        if self.referred {
            let table =
                [(consts::DT_RELA, relas), (consts::DT_RELASZ, (count - 1) * 24), (consts::DT_RELAENT, 24)];
            dynamic.extend(table);
        }
        dynamic.push((consts::DT_NULL, 0));

        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        file.resize(16, 0);
        file.extend([3u8, 0, 62, 0, 1, 0, 0, 0]);
        file.extend([word(0), word(64), word(0)].concat());
        file.extend([0u8, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([1u8, 0, 0, 0, 6, 0, 0, 0]);
        file.extend([word(0), word(0), word(0), word(size), word(size), word(4096)].concat());
        let dynamic_size = dynamic.len() * 16;
        file.extend([2u8, 0, 0, 0, 6, 0, 0, 0]);
        file.extend(
            [word(DYNAMIC), word(DYNAMIC), word(DYNAMIC), word(dynamic_size), word(dynamic_size)].concat(),
        );
        file.extend(word(8));
        for (tag, value) in dynamic {
            file.extend([tag.to_le_bytes(), word(value)].concat());
        }
        file.resize(symbols + 24, 0);
        for &(name, is_defined) in &self.symbols {
            file.extend(name.to_le_bytes());
            file.extend([0x12, 0, u8::from(is_defined), 0]);
            file.extend([word(usize::from(is_defined) * slots), word(8)].concat());
        }
        if self.referred {
            for index in 1..count {
                file.extend([word(slots + index * 8), word(index << 32 | 6), word(0)].concat());
            }
        }
        file.resize(hash, 0);
        // DT_HASH with one bucket and no chain: nothing is found by it, and it tells how many symbols there are.
        file.extend([1u32, u32::try_from(count).unwrap_or(0), 0].map(u32::to_le_bytes).concat());
        file.resize(strings, 0);
        file.extend(&self.strings);
        file
    }

    /// What `option` says of the file, in little address space.
    fn inspect(&self, case: Case<'_>, option: &str, env: &[&str]) -> Result<Outcome> {
        self.start(case, option, env, |start| start.limit("as", ROOM).run())
    }

    fn start<T>(
        &self,
        case: Case<'_>,
        option: &str,
        env: &[&str],
        run: impl FnOnce(Start) -> Result<T>,
    ) -> Result<T> {
        let workdir = Workdir::new()?;
        let file = workdir.path().join("library.so");
        fs::write(&file, self.file())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        let start = Start::new(&case.world.stage.loader(), case.user).arg(option).arg(file.to_string_lossy());
        run(env.iter().fold(start, |start, string| start.env(string)))
    }
}

/// A library of many DT_NEEDED, each a part of one string.
fn needs_of_one_string(count: u64, length: usize) -> Tables {
    let mut tables = Tables::new();
    let first = tables.string(&"n".repeat(length));
    (0..count).fold(tables, |tables, index| tables.entry(consts::DT_NEEDED, first + index))
}

fn refused(outcome: &Outcome, why: &str) -> bool {
    let one_line = outcome.stderr.lines().count() == 1 && outcome.stderr.starts_with("slulrtld: ");
    outcome.ending == Ending::Exit(REFUSED) && one_line && outcome.stderr.contains(why)
}

/// Names that no file can have are refused before they are copied; others are kept once.
pub(crate) fn needed_names(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for (count, length, good) in [(4000, 400_000, false), (1000, 4096, false), (250, 255, true)] {
        for option in ["--list", "--verify"] {
            let outcome = needs_of_one_string(count, length).inspect(case, option, &[])?;
            // --verify says that none of them is there.
            let missing = option == "--verify" && matches!(outcome.ending, Ending::Exit(127));
            let ran = matches!(outcome.ending, Ending::Exit(0)) || missing;
            let as_wanted = if good { ran } else { refused(&outcome, "longer than a name (255 bytes)") };
            if !as_wanted {
                complaints.push(format!("{option}, {count} of {length}: {outcome:?}"));
            }
        }
    }
    let mut same = Tables::new();
    let name = same.string(&"n".repeat(255));
    let same = (0..40_000).fold(same, |tables, _| tables.entry(consts::DT_NEEDED, name));
    let outcome = same.inspect(case, "--list", &[])?;
    ensure!(outcome.ending == Ending::Exit(0) && outcome.stdout.matches("=>").count() == 1, "{outcome:?}");
    complaints.verdict()
}

/// Search paths of any length are expanded in one piece of memory, for any number of names.
pub(crate) fn search_paths(case: Case<'_>) -> Result<()> {
    let dollars = "$".repeat(120_000);
    let directories: Vec<_> = (0..1000).map(|index| format!("/nowhere/{index:0100}")).collect();
    let directories = directories.join(":");
    let mut complaints = Complaints::default();
    for list in [&dollars, &directories] {
        for tag in [Some(consts::DT_RUNPATH), Some(consts::DT_RPATH), None] {
            let mut tables = Tables::new();
            for index in 0..1000 {
                tables = tables.text(consts::DT_NEEDED, &format!("libof{index}.so"));
            }
            let variable = format!("LD_LIBRARY_PATH={list}");
            let (tables, env) = match tag {
                Some(tag) => (tables.text(tag, list), vec![]),
                None => (tables, vec![variable.as_str()]),
            };
            let outcome = tables.inspect(case, "--list", &env)?;
            if outcome.ending != Ending::Exit(0) || outcome.stdout.matches("libof").count() != 1000 {
                complaints.push(format!("{tag:?}, {}: {:?} {}", &list[..9], outcome.ending, outcome.stderr));
            }
        }
    }
    complaints.verdict()
}

/// Directories that are missing cost a call of the system each, not one for each name.
pub(crate) fn missing_directories(case: Case<'_>) -> Result<()> {
    const MANY: usize = 100;
    let mut tables = Tables::new();
    for index in 0..MANY {
        tables = tables.text(consts::DT_NEEDED, &format!("libof{index}.so"));
    }
    let directories: Vec<_> = (0..MANY).map(|index| format!("/nowhere/{index}")).collect();
    let tables = tables.text(consts::DT_RUNPATH, &directories.join(":"));
    let (outcome, calls) = tables.start(case, "--list", &[], |start| {
        let mut tracee = Tracee::start(&start)?;
        let mut calls = 0usize;
        while tracee.next_call()?.is_some() {
            calls += 1;
        }
        Ok((tracee.finish()?, calls))
    })?;
    ensure!(outcome.ending == Ending::Exit(0), "{outcome:?}");
    // Each name is looked for in the other directories of both worlds, too.
    ensure!(calls < 40 * MANY, "{calls} system calls for {MANY} names in {MANY} directories");
    Ok(())
}

/// Symbols whose names share their bytes are refused before the names take more than the file by a large factor.
pub(crate) fn symbol_names(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for is_defined in [false, true] {
        let mut tables = Tables::new();
        let first = u32::try_from(tables.string(&"s".repeat(1_000_000)))?;
        let mut tables = tables.text(consts::DT_NEEDED, "libc.so.6");
        tables.symbols = (0..20_000).map(|index| (first + index, is_defined)).collect();
        tables.referred = true;
        let outcome = tables.inspect(case, "--verify", &[])?;
        if !refused(&outcome, "names of symbols are longer in all") {
            complaints.push(format!("defined {is_defined}: {outcome:?}"));
        }
    }
    complaints.verdict()
}
