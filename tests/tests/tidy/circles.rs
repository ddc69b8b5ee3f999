//! No circle of files: whoever reads one file has to know only what is below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::modules::{Uses, uses};
use crate::{none, root};

/// Files that use one another, directly or by way of others. The components of the graph, by Tarjan's algorithm.
fn circles(uses: &Uses) -> Vec<BTreeSet<&Path>> {
    struct Walk<'g> {
        uses: &'g Uses,
        /// When a file was met, and the earliest that it leads back to.
        met: BTreeMap<&'g Path, (usize, usize)>,
        open: Vec<&'g Path>,
        circles: Vec<BTreeSet<&'g Path>>,
    }
    impl<'g> Walk<'g> {
        fn visit(&mut self, file: &'g Path) -> usize {
            let number = self.met.len();
            self.met.insert(file, (number, number));
            self.open.push(file);
            let mut earliest = number;
            for next in self.uses.get(file).into_iter().flatten() {
                match self.met.get(next.as_path()) {
                    None => earliest = earliest.min(self.visit(next)),
                    Some((number, _)) if self.open.contains(&next.as_path()) => earliest = earliest.min(*number),
                    Some(_) => {}
                }
            }
            self.met.insert(file, (number, earliest));
            if earliest == number {
                let at = self.open.iter().position(|&open| open == file).unwrap();
                let component: BTreeSet<_> = self.open.split_off(at).into_iter().collect();
                if component.len() > 1 {
                    self.circles.push(component);
                }
            }
            earliest
        }
    }
    let mut walk = Walk { uses, met: BTreeMap::new(), open: Vec::new(), circles: Vec::new() };
    for file in uses.keys() {
        if !walk.met.contains_key(file.as_path()) {
            walk.visit(file);
        }
    }
    walk.circles
}

/// The root files of all crates of the workspace: libraries, programs, tests.
fn crates() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    let mut add = |path: PathBuf| {
        if path.exists() {
            roots.push(path);
        }
    };
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let folder = root().join(member);
        add(folder.join("src/lib.rs"));
        add(folder.join("src/main.rs"));
        for programs in ["src/bin", "tests"] {
            for entry in fs::read_dir(folder.join(programs)).into_iter().flatten() {
                let path = entry.unwrap().path();
                let is_source = path.extension().is_some_and(|extension| extension == "rs");
                add(if is_source { path } else { path.join("main.rs") });
            }
        }
    }
    assert!(roots.len() > 10, "{roots:?}");
    roots
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let mut violations = Vec::new();
    for crate_root in crates() {
        let uses = uses(&crate_root);
        for circle in circles(&uses) {
            let name = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
            violations.push(format!("{}: a circle of {} files", name(&crate_root), circle.len()));
            for &file in &circle {
                let used = uses[file].iter().filter(|used| circle.contains(used.as_path()));
                let used: Vec<_> = used.map(|used| name(used)).collect();
                violations.push(format!("    {} uses {}", name(file), used.join(", ")));
            }
        }
    }
    none(&violations);
}

#[test]
fn circles_are_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in edges {
            uses.entry(PathBuf::from(from)).or_default().insert(PathBuf::from(to));
            uses.entry(PathBuf::from(to)).or_default();
        }
        circles(&uses).iter().map(|circle| circle.len()).collect::<Vec<_>>()
    };
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("a", "c")]), [0; 0]);
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d")]), [2, 3]);
}
