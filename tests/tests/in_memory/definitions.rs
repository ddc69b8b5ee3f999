//! The table of a scope's definitions gives the same answers as the objects' hash tables, at a cost that no object's
//! contents can raise.

use std::collections::HashSet;

use rtld::base::arena::Arena;
use rtld::elf::symbol::Name;
use rtld::link::definitions::Definitions;
use rtld::link::namespace::Namespace;
use tests::memory::file::{DATA, GOT, TEXT};
use tests::memory::mutation::Xorshift;
use tests::memory::{ElfBuilder, Hash, MemImage, Scene, Symbol};

use crate::opened::{DEEPBIND, Process};
use crate::program_needing;

const NAMES: [&str; 5] = ["x", "seven77", "eight888", "something_longer", "absent"];
const VERSIONS: [&str; 3] = ["V_1", "V_2", "V_3"];

fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap()
}

/// Stands for the default version in the set of an object's versions.
const DEFAULT: usize = usize::MAX;

/// A random definition with a pair of name and version that is not in `taken`, those of the object so far. No linker
/// makes two definitions with one pair; the order in a hash chain would decide between them.
fn definition(random: &mut Xorshift, taken: &mut HashSet<(usize, usize)>) -> Option<Symbol> {
    let mut pick = |count: usize| random.below(count);
    let (name, version) = (pick(4), pick(8));
    // At most one version of a name is the default.
    let version = if version < 3 && !taken.insert((name, DEFAULT)) { version + 3 } else { version };
    let its_number = if version < 6 { 1 + version % 3 } else { 0 };
    let alike = |&(other, its): &(usize, usize)| {
        other == name && its != DEFAULT && (its == its_number || its == 0 || its_number == 0)
    };
    if taken.iter().any(alike) {
        return None;
    }
    taken.insert((name, its_number));
    let name = NAMES[name];
    let symbol = match pick(8) {
        0 => Symbol::function(name, TEXT).kind(10),
        1 => Symbol::absolute(name, 0x1000 + number(pick(100))),
        2 => Symbol::tls(name, number(pick(8))),
        3 => Symbol::object(name, 0),
        _ => Symbol::object(name, DATA + number(pick(200))),
    };
    let symbol = match pick(10) {
        0 => symbol.local(),
        1 => symbol.hidden(),
        2 => symbol.weak(),
        3 => symbol.unique(),
        _ => symbol,
    };
    Some(match version {
        0..3 => symbol.of_version(VERSIONS[version]),
        3..6 => symbol.of_version(VERSIONS[version - 3]).old(),
        _ => symbol,
    })
}

/// The answer of the objects, one by one.
fn one_by_one(namespace: &Namespace<'_, MemImage>, scope: &[usize], name: &Name<'_>) -> Option<(usize, u64)> {
    let found = namespace.lookup(&mut scope.iter().copied(), name, &mut 0).unwrap();
    found.map(|found| (found.module, found.sym.st_value))
}

#[test]
fn it_answers_as_the_objects_do() {
    let mut random = Xorshift::new(0x5eed);
    let mut found = 0;
    for _ in 0..400 {
        let count = 1 + random.below(4);
        let names: Vec<String> = (0..count).map(|number| format!("lib{number}.so")).collect();
        let needed: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut program = program_needing(&needed);
        if random.below(3) == 0 {
            // A canonical PLT entry in the program.
            program = program.symbol(Symbol::undefined(NAMES[random.below(4)]).kind(2).value(TEXT));
        }
        let mut scene = Scene::new(&program);
        for name in &names {
            let hash = if random.below(4) == 0 { Hash::SysV } else { Hash::Gnu };
            let symbols = random.below(8);
            let mut taken = HashSet::new();
            let library = (0..symbols)
                .filter_map(|_| definition(&mut random, &mut taken))
                .fold(ElfBuilder::library(name).hash(hash), ElfBuilder::symbol);
            scene = scene.file(&format!("/lib/slul/{name}"), &library);
        }
        let loaded = scene.load().unwrap();
        let namespace = loaded.namespace();
        let mut scope: Vec<usize> = (0..namespace.bound()).collect();
        for _ in 0..2 {
            let definitions = Definitions::of(namespace, &scope, scene.arena).unwrap();
            for name in NAMES {
                for version in [None, Some("V_1"), Some("V_2"), Some("V_3"), Some("V_4")] {
                    for canonical in [false, true] {
                        let name =
                            Name::versioned(name.as_bytes(), version.map(str::as_bytes)).canonical(canonical);
                        let expected = one_by_one(namespace, &scope, &name);
                        let answer =
                            definitions.find(namespace, &name).map(|found| (found.module, found.sym.st_value));
                        assert_eq!(answer, expected, "{name:?} in {scope:?}");
                        found += usize::from(answer.is_some());
                    }
                }
            }
            scope.reverse();
        }
    }
    assert!(found > 10_000, "{found}");
}

/// Names with one hash of DT_GNU_HASH: each pair of letters has another one with the same hash.
fn colliding(count: usize) -> Vec<String> {
    let digits = |number: usize| (0..16).map(move |bit| if number >> bit & 1 == 0 { "Ez" } else { "FY" });
    (0..count).map(|number| digits(number).collect()).collect()
}

/// Number of reads of objects for a program with `count` references to a library, whose names all have one hash.
fn reads_for(count: usize, library: impl Fn(ElfBuilder) -> ElfBuilder) -> u64 {
    let names = colliding(count);
    let add =
        |elf: ElfBuilder, symbol: fn(&str) -> Symbol| names.iter().fold(elf, |elf, name| elf.symbol(symbol(name)));
    let library = library(add(ElfBuilder::library("a"), |name| Symbol::object(name, DATA)));
    let program = add(program_needing(&["a"]), Symbol::undefined);
    let program = names.iter().fold(program, |program, name| program.rela(GOT, 6, name, 0));
    let scene = Scene::new(&program).libraries([("a", library)]);
    let before = MemImage::reads();
    scene.seal().unwrap();
    MemImage::reads() - before
}

#[test]
fn colliding_names_cost_no_more_than_others() {
    for hash in [Hash::Gnu, Hash::SysV] {
        let cost = |count| reads_for(count, |library| library.hash(hash));
        let (some, more) = (cost(1000), cost(4000));
        assert!(more < some * 5, "{some} reads for 1000 names, {more} for 4000");
    }
}

#[test]
fn an_object_that_is_its_own_scope_costs_no_more() {
    let names = colliding(4000);
    let cost = |count: usize| {
        reads_for(count, |library| {
            let library = library.entry(16, 0);
            names.iter().take(count).fold(library, |library, name| library.rela(GOT, 6, name, 0))
        })
    };
    let (some, more) = (cost(1000), cost(4000));
    assert!(more < some * 5, "{some} reads for 1000 names, {more} for 4000");
}

#[test]
fn versions_cost_no_more_than_symbols() {
    let cost = |count: u64| {
        let numbers = || (0..count).map(|number| (format!("symbol{number}"), format!("V_{number}")));
        let library = numbers().fold(ElfBuilder::library("a"), |library, (name, version)| {
            library.symbol(Symbol::object(&name, DATA).of_version(&version))
        });
        let program = numbers().fold(program_needing(&["a"]), |program, (name, version)| {
            program.symbol(Symbol::undefined(&name).version("a", &version)).rela(GOT, 6, &name, 0)
        });
        let scene = Scene::new(&program).libraries([("a", library)]);
        let before = MemImage::reads();
        scene.seal().unwrap();
        MemImage::reads() - before
    };
    let (some, more) = (cost(500), cost(2000));
    assert!(more < some * 5, "{some} reads for 500 versions, {more} for 2000");
}

#[test]
fn the_table_is_the_same_in_any_arena() {
    // A scope without objects defines nothing.
    let scene = Scene::new(&ElfBuilder::new());
    let loaded = scene.load().unwrap();
    let scratch: &Arena = &scene.arena.scratch();
    let none = Definitions::of(loaded.namespace(), &[], scratch).unwrap();
    assert!(none.find(loaded.namespace(), &Name::new(b"x")).is_none());
}

/// An opening with enough references to build the table: it has the opened library's scope, in its order, and the
/// referenced objects stay as long as the library.
#[test]
fn what_is_opened_is_looked_up_in_its_own_scope() {
    const COUNT: usize = 4000;
    let names = || (0..COUNT).map(|number| format!("symbol{number}"));
    let all = |elf: ElfBuilder, at: u64| names().fold(elf, |elf, name| elf.symbol(Symbol::object(&name, at)));
    // The program defines the first half of the names, too.
    let program =
        names().take(COUNT / 2).fold(ElfBuilder::new(), |elf, name| elf.symbol(Symbol::object(&name, DATA)));
    let last = format!("symbol{}", COUNT - 1);
    for (flags, deep) in [(0, false), (DEEPBIND, true)] {
        let refers = names().fold(program_needing(&["definer"]), |elf, name| {
            elf.symbol(Symbol::undefined(&name)).rela(DATA, 1, &name, 0)
        });
        let refers = refers.rela(GOT, 6, "symbol0", 0).rela(DATA, 1, &last, 0);
        let definer = all(ElfBuilder::library("definer"), DATA + 8);
        let scene = Scene::new(&program).libraries([("refers", refers), ("definer", definer)]);
        let mut process = Process::of(scene);
        let root = process.open("refers", flags);
        let definer = process.bias(process.number("definer")) + DATA + 8;
        let first = if deep { definer } else { process.bias(0) + DATA };
        assert_eq!(process.word(root, GOT), first, "flags {flags:#x}");
        assert_eq!(process.word(root, DATA), definer);
        assert_eq!(process.close(root), ["refers", "definer"], "who refers goes first");
    }
}
