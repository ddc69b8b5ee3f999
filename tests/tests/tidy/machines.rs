//! What belongs to one processor or kernel stands in the files of that processor.

use crate::{Text, loader, none, texts};

/// Folders of processors: tables that every host compiles, then code.
const TABLES: &str = "rtld/src/machine/";
const CODE: [&str; 3] = ["rtld/src/bin/slulrtld/cpu/", "rtld/src/run/cpu/", "using-libc/src/cpu.rs"];

/// Where structures of files are named, and sizes of pages.
const ELF: &str = "rtld/src/elf/mod.rs";
const ADDRESSES: &str = "rtld/src/base/addr.rs";

/// The early start, which takes system calls by the kernel's names, and goes by the smallest page that there is.
const EARLY: &str = "rtld/src/bin/slulrtld/early/";

/// Beginnings of names, and the one other place where each may be: relocation types, machines, system calls, and words of
/// the TCB.
const NAMES: [(&str, &str); 9] = [
    ("R_X86_64_", ""),
    ("R_AARCH64_", ""),
    ("R_RISCV_", ""),
    ("EM_X86_64", ELF),
    ("EM_AARCH64", ELF),
    ("EM_RISCV", ELF),
    ("__NR_", EARLY),
    ("SYS_", ""),
    ("TcbWord", ""),
];

/// Numbers that could be the size of a page, its mask or its name.
const PAGES: [&str; 8] = ["4096", "4095", "0x1000", "0xfff", "4 << 10", "1 << 12", "K4", "K64"];

/// Constants that have such a number, and are something else: the name and the reason.
const NO_PAGES: [(&str, &str); 3] = [
    ("PATH_MAX", "the kernel's longest path (<linux/limits.h>)"),
    ("NODELETE", "a flag of dlopen(3)"),
    ("RESERVE", "room for thread-local storage"),
];

fn is_of_a_processor(path: &str) -> bool {
    path.starts_with(TABLES) || CODE.iter().any(|folder| path.starts_with(folder))
}

/// Whether one of the numbers stands in a line by itself.
fn is_page(line: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    PAGES.iter().any(|number| {
        let parts: Vec<&str> = line.split(number).collect();
        parts.windows(2).any(|pair| !pair[0].ends_with(is_part) && !pair[1].starts_with(is_part))
    })
}

fn is_exempt(line: &str) -> bool {
    NO_PAGES.iter().any(|(name, _)| line.contains(&format!("const {name}: ")))
}

fn violations(files: &[Text]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| !is_of_a_processor(&file.path)) {
        for (number, line) in file.code() {
            for (name, place) in NAMES {
                if line.contains(name) && (place.is_empty() || !file.path.starts_with(place)) {
                    violations.push(format!("{}:{number}: `{name}` of one processor or kernel", file.path));
                }
            }
            let pages = [ADDRESSES, EARLY].iter().any(|place| file.path.starts_with(place));
            if !pages && is_page(line) && !is_exempt(line) {
                violations.push(format!("{}:{number}: the size of a page as a number", file.path));
            }
        }
    }
    violations
}

/// Tables that no test loads an object by could hold any number.
#[test]
fn tables_of_processors_are_tested() {
    let tested = &texts("tests/tests/in_memory/machines.rs")[0].text;
    let tables: Vec<Text> = texts(TABLES.trim_end_matches('/'))
        .into_iter()
        .filter(|file| !["mod.rs", "interface.rs"].iter().any(|name| file.path.ends_with(name)))
        .collect();
    assert!(tables.len() >= 3, "there are tables");
    for Text { path, text } in &tables {
        let (_, machine) = text.split_once("\nimpl Machine for ").unwrap();
        let name = machine.split_whitespace().next().unwrap();
        assert!(
            tested.contains(&format!("impl Psabi for {name} {{")),
            "{path}: not in tests/in_memory/machines.rs"
        );
        let known = |word: &str| NAMES.iter().any(|(name, _)| name.starts_with("R_") && word.starts_with(name));
        let mut numbers = machine.split_whitespace().filter(|word| word.starts_with("R_"));
        assert!(numbers.all(known), "{path}: its relocation types are not in NAMES");
    }
}

#[test]
fn numbers_of_processors_are_theirs() {
    none(&violations(&loader()));
}

#[test]
fn numbers_of_processors_are_found() {
    let file = |path: &str, line: &str| [Text { path: path.to_owned(), text: format!("{line}\n") }];
    let found = |path: &str, line: &str| !violations(&file(path, line)).is_empty();
    for line in ["x == R_X86_64_COPY", "__NR_open,", "let page = 4096;", "a & !0xfff", "PageSize::K4"] {
        assert!(found("rtld/src/link/x.rs", line), "{line}");
        assert!(!found("rtld/src/machine/x.rs", line) && !found("rtld/src/run/cpu/x.rs", line), "{line}");
    }
    for line in ["const PATH_MAX: usize = 4096;", "0xfff1", "40960", "// 4096", "from_usize(K)"] {
        assert!(!found("rtld/src/link/x.rs", line), "{line}");
    }
    assert!(!found(ELF, "EM_RISCV") && found("rtld/src/elf/plan.rs", "EM_RISCV"));
}
