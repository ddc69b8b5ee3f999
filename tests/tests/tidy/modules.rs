//! Which file of a crate uses which: `mod` declarations followed from the crate's root, paths resolved to the file of the
//! deepest module that they name.
//!
//! Code that assembly calls counts: by `sym` operands, which are paths, and by names of functions that are not mangled,
//! in the text of assembly and in `extern "C"` blocks. Unit tests do not count, nor does `mod` itself: a folder's `mod.rs`
//! lists what is in it, and depends only on what it uses or hands on (`pub use`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files that each file of a crate uses.
pub(crate) type Uses = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// A module's path from the crate's root.
type Module = Vec<String>;

/// Follows the crate whose root is `root`, a `main.rs` or `lib.rs`.
pub(crate) fn uses(root: &Path) -> Uses {
    let mut files = BTreeMap::new();
    collect(Vec::new(), root, root.parent().unwrap(), &mut files);
    let texts: BTreeMap<&Path, String> =
        files.values().map(|file| (file.as_path(), fs::read_to_string(file).unwrap())).collect();
    let unmangled = unmangled(&texts);
    let mut uses = Uses::new();
    for (module, file) in &files {
        let text = &texts[file.as_path()];
        let mut used: BTreeSet<PathBuf> =
            paths(&code(text)).iter().filter_map(|path| resolve(path, module, &files)).collect();
        used.extend(unmangled.iter().filter(|(name, _)| calls(text, name)).map(|(_, file)| file.clone()));
        used.remove(file);
        uses.insert(file.clone(), used);
    }
    uses
}

/// Adds the module in `file`, whose children are in `folder`, and all below it.
fn collect(module: Module, file: &Path, folder: &Path, files: &mut BTreeMap<Module, PathBuf>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut attributes = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push_str(line);
            continue;
        }
        let declared = ["mod ", "pub mod ", "pub(crate) mod "].iter().find_map(|start| line.strip_prefix(start));
        if let Some(name) = declared.and_then(|rest| rest.strip_suffix(';'))
            && !attributes.contains("cfg(test)")
        {
            let path = attributes.split_once("path = \"").and_then(|(_, rest)| rest.split('"').next());
            let child = match path {
                Some(path) => plain(&file.parent().unwrap().join(path)),
                None => {
                    let single = folder.join(format!("{name}.rs"));
                    if single.exists() { single } else { folder.join(name).join("mod.rs") }
                }
            };
            let is_folder = child.file_name().is_some_and(|name| name == "mod.rs");
            let below = if is_folder { child.parent().unwrap().to_owned() } else { child.with_extension("") };
            let mut path = module.clone();
            path.push(name.to_owned());
            collect(path, &child, &below, files);
        }
        if !line.starts_with("//") {
            attributes.clear();
        }
    }
    files.insert(module, file.to_owned());
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// The text without comments, strings and unit tests.
fn code(text: &str) -> String {
    let begins = |at: usize| {
        let item = text[at..].lines().nth(1).unwrap_or_default();
        item.contains("mod ") && item.ends_with('{')
    };
    let tests = text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|&at| begins(at)).unwrap_or(text.len());
    let lines = text[..tests].lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut code = String::new();
    let mut in_string = false;
    for line in lines {
        for (index, piece) in line.replace("\\\"", "").replace("'\"'", "").split('"').enumerate() {
            in_string ^= index != 0;
            if !in_string {
                code.push_str(piece);
            }
        }
        code.push('\n');
    }
    code
}

/// All paths with more than one segment, and those of `use`, whose braces are expanded.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for (index, piece) in code.split("use ").enumerate() {
        let begins = index != 0 && !rest.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        match piece.split_once(';').filter(|_| begins) {
            Some((tree, after)) => {
                expand(&[], tree, &mut paths);
                rest.push_str(after);
            }
            None => rest.push_str(piece),
        }
    }
    let words = rest.split(|next: char| !next.is_alphanumeric() && next != '_' && next != ':');
    let long = words.filter(|word| word.contains("::"));
    paths.extend(long.map(|word| word.split("::").map(str::to_owned).collect::<Vec<_>>()));
    paths
}

/// Adds the paths of a tree such as `a::{b, c::d}`.
fn expand(before: &[String], tree: &str, paths: &mut Vec<Vec<String>>) {
    let (head, branches) = match tree.split_once('{') {
        Some((head, rest)) => (head, rest.rsplit_once('}').map(|(branches, _)| branches)),
        None => (tree, None),
    };
    let mut path = before.to_vec();
    let head = head.split(" as ").next().unwrap_or_default();
    path.extend(head.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    let Some(branches) = branches else {
        paths.push(path);
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, character) in branches.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&path, &branches[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !branches[start..].trim().is_empty() {
        expand(&path, &branches[start..], paths);
    }
}

/// The file of the deepest module that a path in `module` names, if it is one of this crate.
fn resolve(path: &[String], module: &Module, files: &BTreeMap<Module, PathBuf>) -> Option<PathBuf> {
    let mut absolute = module.clone();
    let mut names = path.iter();
    match path.first()?.as_str() {
        "crate" => {
            absolute.clear();
            names.next();
        }
        "self" => drop(names.next()),
        "super" => {
            while names.as_slice().first().is_some_and(|name| name == "super") {
                absolute.pop();
                names.next();
            }
        }
        first => {
            // A child of this module; anything else is another crate's, or was imported, which counts where it is.
            absolute.push(first.to_owned());
            let is_child = files.contains_key(&absolute);
            absolute.pop();
            if !is_child {
                return None;
            }
        }
    }
    absolute.extend(names.cloned());
    while !files.contains_key(&absolute) {
        absolute.pop();
    }
    files.get(&absolute).cloned()
}

/// Functions that are not mangled, by name, and the file of each.
fn unmangled(texts: &BTreeMap<&Path, String>) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for (file, text) in texts {
        for piece in text.split("#[unsafe(no_mangle)]").skip(1) {
            let item = piece.lines().find(|line| line.contains("fn "));
            let name = item.and_then(|line| line.split_once("fn ")).and_then(|(_, rest)| rest.split('(').next());
            found.extend(name.map(|name| (name.to_owned(), file.to_path_buf())));
        }
    }
    found
}

/// Whether a text calls a function by its name: declared in an `extern "C"` block, or as the operand of an instruction.
fn calls(text: &str, name: &str) -> bool {
    let declared = text.split("extern \"C\" {").skip(1).any(|block| {
        let block = block.split("\n}").next().unwrap_or_default();
        block.contains(&format!("fn {name}("))
    });
    let operand = |line: &str| {
        let line = line.trim();
        line.starts_with('"')
            && line.split(|next: char| !next.is_alphanumeric() && next != '_').any(|word| word == name)
    };
    let is_assembly = text.contains("asm!(");
    declared || is_assembly && text.lines().any(operand)
}

#[test]
fn trees_are_expanded() {
    let joined = |tree: &str| {
        let mut paths = Vec::new();
        expand(&[], tree, &mut paths);
        paths.iter().map(|path| path.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(joined("crate::a::{b, c::{d as e, f},}"), ["crate::a::b", "crate::a::c::d", "crate::a::c::f"]);
    assert_eq!(joined("super::x"), ["super::x"]);
}

#[test]
fn paths_are_found_in_code_alone() {
    let text = "use crate::a::B; // crate::c::D\nlet x = crate::e::f(\"crate::g::H\");\n#[cfg(test)]\nmod tests {\nuse super::I;";
    let found: Vec<_> = paths(&code(text)).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["crate::a::B", "crate::e::f"]);
}

#[test]
fn assembly_calls_by_name() {
    assert!(calls("asm!(\n \"jmp slul_x\",\n)", "slul_x") && !calls("asm!(\n \"jmp slul_xy\",\n)", "slul_x"));
    assert!(calls("extern \"C\" {\n    fn slul_x();\n}", "slul_x") && !calls("say(\"slul_x failed\")", "slul_x"));
}
