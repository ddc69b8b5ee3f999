//! Rules of the architecture, checked over the text of the sources.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod circles;
mod docs;
mod machines;
mod modules;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file of the loader in lines, without its unit tests.
const LONGEST: usize = 450;

/// Longer files, and the reason for each.
const LONGER: [(&str, &str); 0] = [];

/// Longest fixture in lines.
const LONGEST_FIXTURE: usize = 150;

/// Files of the library that may hold unsafe code; so may all of the loader's program.
const UNSAFE: [&str; 7] = [
    "base/arena.rs",
    "error/record.rs",
    "os/mapped.rs",
    "os/sys/files.rs",
    "os/sys/mapping.rs",
    "os/sys/memory.rs",
    "os/testing.rs",
];

/// A text file.
struct Text {
    /// Path from the root of the repository.
    path: String,
    text: String,
}

impl Text {
    /// The lines before the unit tests, which come last.
    fn lines(&self) -> impl Iterator<Item = (u32, &str)> {
        let is_tests =
            |line: &str, next: &str| line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{');
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| is_tests(pair[0], pair[1]));
        let end = tests.unwrap_or(lines.len());
        (1..).zip(lines).take(end)
    }

    /// [`Self::lines`] without comments.
    fn code(&self) -> impl Iterator<Item = (u32, &str)> {
        self.lines().map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }

    /// The documentation of the module.
    fn docs(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| line.starts_with("//!"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All text files below a folder, by path; or one file.
fn texts(folder: &str) -> Vec<Text> {
    let mut paths = Vec::new();
    collect(&root().join(folder), &mut paths);
    paths.sort();
    // A program that somebody has built in the tree is no text.
    let read = |path: PathBuf| {
        let text = String::from_utf8(fs::read(&path).unwrap()).ok()?;
        Some(Text { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text })
    };
    let texts: Vec<_> = paths.into_iter().filter_map(read).collect();
    assert!(!texts.is_empty(), "{folder} is empty");
    texts
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    if folder.is_file() {
        paths.push(folder.to_owned());
        return;
    }
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        match entry.file_type().unwrap().is_dir() {
            _ if hidden || entry.file_name() == "target" => {}
            true => collect(&entry.path(), paths),
            false => paths.push(entry.path()),
        }
    }
}

/// The loader's sources, with those that it has where libc is there already.
fn loader() -> Vec<Text> {
    let mut texts = texts("rtld/src");
    texts.extend(self::texts(USING_LIBC));
    texts.retain(|text| text.path.ends_with(".rs"));
    texts
}

/// The folder of a file of the library, `name/`.
fn folder(file: &Text) -> &str {
    let path = file.path.strip_prefix("rtld/src/").unwrap_or_default();
    path.strip_suffix("mod.rs").unwrap_or(path)
}

/// Whether a file may hold unsafe code.
fn may_be_unsafe(path: &str) -> bool {
    is_program(path) || UNSAFE.iter().any(|name| path.strip_prefix("rtld/src/") == Some(name))
}

/// Where the loader's program is.
const PROGRAM: &str = "rtld/src/bin/slulrtld/";

/// What both programs share.
const RUN: &str = "rtld/src/run/";

/// The program that stands on libc.
const USING_LIBC: &str = "using-libc/src/";

/// Whether a file is of one of the two programs.
fn is_program(path: &str) -> bool {
    [PROGRAM, RUN, USING_LIBC].iter().any(|folder| path.starts_with(folder))
}

/// Fails with all violations, if there are any.
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// Checks that only files with a path that `may` have one of the words in their code.
fn only(words: &[&str], may: impl Fn(&str) -> bool) {
    let mut violations = Vec::new();
    for file in loader().iter().filter(|file| !may(&file.path)) {
        for (number, line) in file.code() {
            let found = words.iter().filter(|word| mentions(line, word));
            violations.extend(found.map(|word| format!("{}:{number}: `{word}`", file.path)));
        }
    }
    none(&violations);
}

/// Whether `line` has `word`, not as a part of a longer word.
fn mentions(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let parts: Vec<&str> = line.split(word).collect();
    parts.windows(2).any(|pair| {
        // `'static mut` is a lifetime and a reference.
        let begins = !pair[0].ends_with(is_part) && !pair[0].ends_with('\'');
        let ends = !word.ends_with(is_part) || !pair[1].starts_with(is_part);
        begins && ends
    })
}

#[test]
fn unsafe_code_is_fenced() {
    only(&["allow(unsafe_code)", "expect(unsafe_code", "unsafe"], may_be_unsafe);
    let forbids = |file: &Text| file.text.lines().any(|line| line == "#![forbid(unsafe_code)]");
    // A lint that a module forbids its children can not allow, so a folder with unsafe files has it in its other files.
    let is_list =
        |file: &Text| file.path.ends_with("/mod.rs") && UNSAFE.iter().any(|name| name.starts_with(folder(file)));
    let is_root = |file: &Text| file.path == "rtld/src/lib.rs" || is_list(file);
    let fenced = |file: &&Text| may_be_unsafe(&file.path) || is_root(file) || forbids(file);
    let violations: Vec<_> = loader()
        .iter()
        .filter(|file| !fenced(file))
        .map(|file| format!("{}: no `#![forbid(unsafe_code)]`", file.path))
        .collect();
    none(&violations);
}

#[test]
fn files_with_unsafe_code_say_why() {
    let allows = |file: &Text| file.text.lines().any(|line| line.starts_with("#![allow(unsafe_code"));
    let says = |file: &Text| file.docs().any(|line| line == "//! # Safety");
    let mut violations = Vec::new();
    for file in loader() {
        if allows(&file) && !says(&file) {
            violations.push(format!("{}: no `# Safety` section in the module's documentation", file.path));
        }
        if !allows(&file) && says(&file) {
            violations.push(format!("{}: has a `# Safety` section for nothing", file.path));
        }
    }
    none(&violations);
}

#[test]
fn dependencies_are_named_in_one_place() {
    only(&["goblin"], |path| path == "rtld/src/elf/mod.rs");
    only(&["rustix"], |path| path.starts_with("rtld/src/os/sys/"));
    only(&["linux_raw_sys"], |path| path == "rtld/src/start/handoff.rs" || is_program(path));
}

/// Beginnings of paths, markers and names of machines, which `abi` holds. Comments may say them, and so may unit tests
/// and `tests/tests`, where they are what is expected: a wrong path would agree with itself there, if it came from
/// `abi`.
const FACTS: [&str; 16] = [
    "/lib/slul",
    "lib/slulrtld-",
    "slulrtld-x86_64",
    "slulrtld-{",
    "libexec/slul",
    "ld-linux-",
    "ld-musl-",
    "/usr/bin/runslul",
    "/usr/bin/slulbin",
    "usr/include/slul",
    "lib/binfmt.d",
    "-binfmt-P",
    "0x53",
    "linux-gnu\"",
    "\"x86_64",
    "\"slul_rt0",
];

#[test]
fn facts_stand_in_abi_alone() {
    let mut violations = Vec::new();
    for file in texts("") {
        let exempt =
            ["abi/", "tests/tests/", "tests/fixtures/"].iter().any(|folder| file.path.starts_with(folder));
        if exempt || !file.path.ends_with(".rs") {
            continue;
        }
        // What is compiled at all is chosen by Rust's names of machines.
        let chooses = |line: &str| line.contains("target_arch") || line.starts_with("#[path");
        for (number, line) in file.code().filter(|(_, line)| !chooses(line)) {
            let found = FACTS.iter().filter(|fact| line.contains(**fact));
            violations.extend(found.map(|fact| format!("{}:{number}: `{fact}`", file.path)));
        }
    }
    none(&violations);
}

/// What is there for some machines only says of the others that it is not.
#[test]
fn machines_without_code_are_refused() {
    let has = |file: &Text, what: &str| file.code().any(|(_, line)| line.contains(what));
    let files: Vec<_> = texts("").into_iter().filter(|file| file.path.ends_with(".rs")).collect();
    let chosen = files.iter().filter(|file| !file.path.starts_with("tests/") && has(file, "cfg(target_arch"));
    let silent = chosen.filter(|file| !has(file, "compile_error!"));
    none(&silent.map(|file| format!("{}: no `compile_error!` for other machines", file.path)).collect::<Vec<_>>());
}

#[test]
fn assembly_is_in_few_places() {
    let folders = [format!("{PROGRAM}cpu/"), format!("{RUN}cpu/"), format!("{USING_LIBC}cpu.rs")];
    let may = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
    only(&["asm!", "naked_asm!", "global_asm!", "naked"], may);
}

#[test]
fn the_early_start_reads_by_type() {
    /// Most unsafe blocks there, of which each answers for itself: of the plain start, and of what only the deferred one has.
    const MOST: [usize; 2] = [40, 34];
    const OF_DEFERRED: [&str; 7] =
        ["deferred.rs", "late.rs", "numbers.rs", "own.rs", "saved.rs", "sharing.rs", "tables.rs"];
    let early: Vec<_> = texts("rtld/src/bin/slulrtld/early").into_iter().collect();
    let blocks = |file: &Text| file.code().filter(|(_, line)| line.contains("unsafe {")).count();
    let (deferred, plain): (Vec<&Text>, _) =
        early.iter().partition(|file| OF_DEFERRED.iter().any(|name| file.path.ends_with(name)));
    let counts = [plain, deferred].map(|files: Vec<&Text>| files.into_iter().map(blocks).sum::<usize>());
    assert!(counts[0] <= MOST[0] && counts[1] <= MOST[1], "{counts:?} unsafe blocks, more than {MOST:?}");
    let mut violations = Vec::new();
    for file in &early {
        let own = |line: &str| {
            ["const SYS_", "const AT_", "const PT_", "const DT_"].iter().any(|name| line.contains(name))
        };
        let found = file.code().filter(|(_, line)| own(line));
        violations.extend(
            found.map(|(number, line)| format!("{}:{number}: {}: is there already", file.path, line.trim())),
        );
    }
    none(&violations);
}

#[test]
fn no_static_is_mutable() {
    only(&["static mut"], |_| false);
}

#[test]
fn files_are_short() {
    let mut violations = Vec::new();
    for file in loader() {
        let count = file.lines().count();
        let exempt = LONGER.iter().any(|(path, _)| *path == file.path);
        if count > LONGEST && !exempt {
            violations.push(format!("{}: {count} lines without its tests, more than {LONGEST}", file.path));
        }
        if count <= LONGEST && exempt {
            violations.push(format!("{}: short again, and still exempt", file.path));
        }
    }
    for file in texts("tests/fixtures") {
        let count = file.text.lines().count();
        let is_fixture = !file.path.ends_with(".h") && !file.path.contains("/parts/");
        if is_fixture && count >= LONGEST_FIXTURE {
            violations.push(format!("{}: {count} lines, {LONGEST_FIXTURE} or more", file.path));
        }
    }
    none(&violations);
}

#[test]
fn text_ends_in_one_newline() {
    let mut violations = Vec::new();
    for file in texts("") {
        let blank = file.text.ends_with("\n\n");
        if !file.text.is_empty() && (!file.text.ends_with('\n') || blank) {
            violations.push(format!("{}: does not end in exactly one newline", file.path));
        }
    }
    none(&violations);
}

#[test]
fn words_are_found_whole() {
    assert!(mentions("use rustix::mm;", "rustix") && mentions("asm!(\"\")", "asm!"));
    assert!(mentions("static mut X", "static mut") && !mentions("&'static mut X", "static mut"));
    assert!(!mentions("naked_asm!()", "asm!") && !mentions("use rustixes;", "rustix"));
    let text = |text: &str| Text { path: String::new(), text: text.to_owned() };
    assert_eq!(text("a\n#[cfg(test)]\nmod tests {\nb\n").lines().count(), 1);
    assert_eq!(text("a\n#[cfg(test)]\nmod testing;\nb\n").lines().count(), 4);
    assert_eq!(text("a // unsafe\n").code().collect::<Vec<_>>(), [(1, "a ")]);
}
