//! Libraries that are opened and closed at run time: loaded objects, removed objects, and the state after a failure.

use rtld::elf::consts;
use rtld::error::{Errno, Problem};
use rtld::link::tls::{TABLE_ENTRY, TABLE_HEADER, TlsPlace};
use rtld::open::find::Where;
use tests::memory::file::{DATA, GOT};
use tests::memory::{ElfBuilder, Scene, Symbol};

use crate::opened::{DEEPBIND, GLOBAL, NODELETE, NOLOAD, Process, RESERVE};
use crate::program_needing;

const R_64: u32 = 1;
const EIO: Errno = tests::memory::faulty::FAILURE;
const DF_1_NODELETE: u64 = 8;
const DF_1_NOOPEN: u64 = 0x40;
const DF_1_PIE: u64 = 0x0800_0000;

/// A library that needs some others and refers to symbols, weakly, from [`DATA`] on.
fn library(needs: &[&str], defines: &[&str], refers: &[&str]) -> ElfBuilder {
    let elf =
        defines.iter().fold(program_needing(needs), |elf, name| elf.symbol(Symbol::object(name, DATA + 0x40)));
    refers.iter().zip((DATA..).step_by(8)).fold(elf, |elf, (name, at)| {
        let elf = match defines.contains(name) {
            true => elf,
            false => elf.symbol(Symbol::undefined(name).weak()),
        };
        elf.rela(at, R_64, name, 0)
    })
}

/// A program with some libraries in the last directory of the search.
fn process<const N: usize>(libraries: [(&str, ElfBuilder); N]) -> Process {
    Process::of(Scene::new(&ElfBuilder::new()).libraries(libraries))
}

/// The symbol that a library of [`library`] defines.
fn address(process: &Process, index: usize) -> u64 {
    process.bias(index) + DATA + 0x40
}

#[test]
fn what_comes_goes_and_leaves_its_number_to_another() {
    let mut process = process([
        ("a", library(&["b", "c"], &["x"], &["y"])),
        ("b", library(&["c"], &["y"], &[])),
        ("c", library(&[], &[], &[])),
        ("d", library(&[], &[], &[])),
    ]);
    let before = process.state();
    let opening = process.begin_by(0, "a", 0).unwrap().unwrap();
    let fresh: Vec<_> = opening.fresh.iter().map(|&index| process.name(index)).collect();
    assert_eq!(fresh, ["c", "b", "a"], "dependencies first");
    process.initialise(&opening);
    let (a, b) = (opening.root, process.number("b"));
    assert_eq!(process.word(a, DATA), address(&process, b));
    assert_eq!(process.libraries.changes, (before.2.0 + 3, 0));

    assert_eq!(process.open("a", 0), a);
    assert_eq!(process.close(a), [""; 0], "it is open twice");
    let b_again = process.open("b", 0);
    assert_eq!(b_again, b);
    assert_eq!(process.close(a), ["a"]);
    assert_eq!(process.open("d", 0), a, "a number that is free again");
    assert_eq!(process.close(b), ["b", "c"]);
    assert_eq!(process.libraries.close(tests::memory::scene::arena(), b), Err(Problem::NotOpen.into()));
    assert_eq!(process.close(a), ["d"]);
    assert_eq!(process.state().0, before.0);
    assert_eq!(process.sys.os().mapped(), before.1);
    assert_eq!(process.libraries.changes, (before.2.0 + 4, 4));
}

#[test]
fn whatever_fails_leaves_everything_as_it_was() {
    let mut process = process([
        ("a", library(&["b", "c"], &["x"], &["y", "z"]).tls(&[1], 16, 8)),
        ("b", library(&["kept"], &["y"], &["unique"]).symbol(unique("other"))),
        ("c", library(&["b"], &[], &["z"])),
        ("kept", library(&[], &["z"], &[]).symbol(unique("unique"))),
    ]);
    let kept = process.open("kept", GLOBAL);
    let before = process.state();
    let mut calls = 0;
    loop {
        process.sys.fail_after(calls);
        let result = process.open_by(0, "a", GLOBAL);
        if !process.sys.repair() {
            assert!(result.is_ok());
            break;
        }
        let (path, problem) = crate::refused(result);
        let expected = [Problem::Open(EIO), Problem::Read(EIO), Problem::Map(EIO)];
        assert!(expected.contains(&problem) || problem == Problem::Protect(EIO), "{path}: {problem}");
        assert!(path.starts_with("/lib/slul/"), "{path}");
        assert_eq!(process.state(), before, "after {calls} calls");
        assert_eq!(process.find(Where::Global, "y").map(|found| found.module), None);
        calls += 1;
    }
    assert!(
        calls >= 3 * (1 + 1 + 1 + 5 + 1),
        "three files, each opened, read, reserved, mapped and sealed: {calls}"
    );
    let a = process.number("a");
    assert_eq!(process.word(a, DATA + 8), address(&process, kept));
    let tls = process.libraries.namespace().module(a).tls.unwrap();
    let TlsPlace::Late(late) = tls else { panic!("{tls:?}") };
    assert_eq!((late.entry, late.distance()), (TABLE_HEADER, None), "what failed has no slot any more");
}

fn unique(name: &str) -> Symbol {
    Symbol::object(name, DATA + 0x48).unique()
}

#[test]
fn the_first_unique_symbol_stands_for_all_and_stays() {
    let one = || library(&[], &[], &[]).symbol(unique("only")).rela(DATA, R_64, "only", 0);
    let bad = one().symbol(Symbol::undefined("nowhere")).rela(DATA + 8, R_64, "nowhere", 0);
    let mut process = process([("one", one()), ("two", one()), ("bad", bad)]);
    assert_eq!(process.refused("bad", 0), ("/lib/slul/bad", Problem::UndefinedSymbol(b"nowhere")));
    let (first, two) = (process.open("one", 0), process.open("two", 0));
    assert_eq!(process.word(first, DATA), process.bias(first) + DATA + 0x48);
    assert_eq!(process.word(two, DATA), process.word(first, DATA));
    assert_eq!(process.close(first), [""; 0]);
    assert_eq!(process.close(two), ["two"]);
    assert_eq!(process.names(), ["one"]);

    // An object that is being closed can not be the first definition.
    let mut process = self::process([("one", library(&[], &[], &[]).symbol(unique("only"))), ("two", one())]);
    let first = process.open("one", 0);
    let objects = process.begin_close(first);
    assert_eq!(process.definer(Where::As(first), "only"), Some("one"));
    assert_eq!(process.finish(objects), ["one"]);
    let two = process.open("two", 0);
    assert_eq!(process.word(two, DATA), process.bias(two) + DATA + 0x48);
}

#[test]
fn what_stays_for_good() {
    let mut process = process([
        ("flag", library(&["below"], &[], &[])),
        ("below", library(&[], &[], &[])),
        ("later", library(&[], &[], &[])),
        ("linked", library(&[], &[], &[]).entry(consts::DT_FLAGS_1, DF_1_NODELETE)),
        ("thread", library(&[], &[], &[]).tls(&[], 8, 8)),
        ("found", library(&[], &["x"], &[])),
        ("goes", library(&["linked"], &["y"], &[])),
    ]);
    for (name, flags) in [("flag", NODELETE), ("later", 0), ("linked", 0), ("thread", 0), ("found", GLOBAL)] {
        process.open(name, flags);
    }
    process.open("later", NOLOAD | NODELETE);
    let name = rtld::elf::symbol::Name::by_hand(b"x");
    assert!(process.libraries.find(Where::As(0), Some(0), &name).unwrap().is_some());
    let goes = process.open("goes", GLOBAL);
    // A look-up by handle, or without a caller, keeps nothing.
    assert_eq!(process.definer(Where::In(goes), "y"), Some("goes"));
    assert_eq!(process.definer(Where::Global, "y"), Some("goes"));
    for name in ["flag", "later", "later", "linked", "found"] {
        assert_eq!(process.close(process.number(name)), [""; 0], "{name}");
    }
    assert_eq!(process.close(process.number("thread")), ["thread"]);
    assert_eq!(process.close(goes), ["goes"]);
    assert_eq!(process.names(), ["flag", "below", "later", "linked", "found"]);
    process.close(0);
    let mut order = Vec::new();
    while let Some(index) = process.libraries.pop_initialised() {
        order.push(process.name(index));
    }
    assert_eq!(order, ["found", "linked", "later", "flag", "below"], "finalised at the end");
}

#[test]
fn a_reference_keeps_what_it_is_bound_to() {
    let mut process = process([
        ("giver", library(&[], &["x"], &[])),
        ("other", library(&[], &["x"], &[])),
        ("taker", library(&[], &[], &["x"])),
        ("deep", library(&["own"], &[], &["x"])),
        ("own", library(&[], &["x"], &[])),
    ]);
    let giver = process.open("giver", 0);
    let taker = process.open("taker", 0);
    assert_eq!(process.word(taker, DATA), 0, "what is local is not found");
    process.close(taker);
    assert_eq!(process.begin_by(0, "giver", NOLOAD | GLOBAL).unwrap().unwrap().root, giver);
    let other = process.open("other", GLOBAL);
    let taker = process.open("taker", 0);
    assert_eq!(process.word(taker, DATA), address(&process, giver));
    let deep = process.open("deep", DEEPBIND);
    assert_eq!(process.word(deep, DATA), address(&process, process.number("own")));
    assert_eq!((process.close(giver), process.close(giver)), (vec![], vec![]));
    assert_eq!(process.close(other), ["other"]);
    assert_eq!(process.close(taker), ["taker", "giver"]);
    assert_eq!(process.definer(Where::Global, "x"), None);
    assert_eq!(process.close(deep), ["deep", "own"]);
}

#[test]
fn where_names_are_looked_up() {
    let scene = Scene::new(&program_needing(&["first"]).symbol(Symbol::object("x", DATA))).libraries([
        ("first", library(&[], &["x", "f"], &[])),
        ("head", library(&["tail"], &["x"], &[])),
        ("tail", library(&[], &["x", "t"], &[])),
        ("global", library(&[], &["x", "g"], &[])),
    ]);
    let mut process = Process::of(scene);
    let (head, first) = (process.open("head", 0), process.number("first"));
    let tail = process.number("tail");
    for (place, name, expected) in [
        (Where::Global, "x", Some("program")),
        (Where::As(0), "x", Some("program")),
        (Where::As(0), "t", None),
        (Where::As(head), "x", Some("program")),
        (Where::As(head), "t", Some("tail")),
        (Where::As(tail), "t", Some("tail")),
        (Where::In(head), "x", Some("head")),
        (Where::In(head), "t", Some("tail")),
        (Where::In(tail), "x", Some("tail")),
        (Where::In(head), "f", None),
        (Where::Behind(0), "x", Some("first")),
        (Where::Behind(first), "x", None),
        (Where::Behind(head), "x", Some("tail")),
        (Where::Behind(tail), "x", None),
    ] {
        assert_eq!(process.definer(place, name), expected, "{place:?} {name}");
    }
    process.open("global", GLOBAL);
    assert_eq!(process.definer(Where::Behind(first), "x"), Some("global"));
    assert_eq!(process.definer(Where::Behind(tail), "x"), None);
    assert_eq!(process.definer(Where::As(head), "g"), Some("global"));
}

#[test]
fn noload_looks_at_what_is_there() {
    let mut process = process([("a", library(&["b"], &[], &[])), ("b", library(&[], &[], &[]))]);
    assert!(process.begin_by(0, "a", NOLOAD).unwrap().is_none());
    assert!(process.begin_by(0, "nowhere", NOLOAD).unwrap().is_none());
    assert_eq!(process.names(), [""; 0]);
    let a = process.open("a", 0);
    assert_eq!(process.open("a", NOLOAD), a);
    assert_eq!(process.close(a), [""; 0]);
    let objects = process.begin_close(a);
    assert!(process.begin_by(0, "a", NOLOAD).unwrap().is_none(), "what is being closed is not there");
    let other = process.open("a", 0);
    assert_ne!(other, a);
    assert_eq!(process.finish(objects), ["a", "b"]);
    assert_eq!(process.close(other), ["a", "b"]);
}

#[test]
fn while_something_is_closed_nobody_is_bound_to_it_and_what_it_needs_stays() {
    let mut process = process([
        ("giver", library(&["below"], &["x"], &[])),
        ("below", library(&[], &[], &[])),
        ("taker", library(&[], &[], &["x"])),
    ]);
    let (giver, below) = (process.open("giver", GLOBAL), process.open("below", 0));
    let objects = process.begin_close(giver);
    assert_eq!(objects, [giver]);
    let taker = process.open("taker", 0);
    assert_eq!(process.word(taker, DATA), 0);
    assert_eq!(process.definer(Where::Global, "x"), None);
    assert_eq!(process.definer(Where::As(giver), "x"), Some("giver"), "but its own finalisers find it");
    assert_eq!(process.begin_close(below), [0; 0]);
    assert_eq!(process.finish(objects), ["giver", "below"]);
}

#[test]
fn search_goes_on_with_whoever_needed_what_is_gone() {
    let program = ElfBuilder::new().string(consts::DT_RPATH, "/r");
    let mut scene = Scene::new(&program);
    for (name, elf) in [
        ("outer", library(&["inner"], &[], &[])),
        ("inner", library(&[], &[], &[])),
        ("last", library(&["leaf"], &[], &[])),
        ("leaf", library(&[], &[], &[])),
    ] {
        scene = scene.file(&format!("/r/{name}"), &elf);
    }
    let mut process = Process::of(scene);
    let (outer, inner) = (process.open("outer", 0), process.open("inner", 0));
    assert_eq!(process.close(outer), ["outer"]);
    assert_eq!(process.open_by(inner, "last", 0).unwrap(), outer, "it has the number of what is gone");
    assert_eq!(process.names(), ["last", "inner", "leaf"]);
}

#[test]
fn only_what_has_begun_is_finalised_at_the_end_the_last_first() {
    let mut process = process([
        ("a", library(&["b"], &[], &[])),
        ("b", library(&[], &[], &[])),
        ("nested", library(&[], &[], &[])),
    ]);
    let opening = process.begin_by(0, "a", 0).unwrap().unwrap();
    let b = process.number("b");
    process.libraries.initialising(b);
    let nested = process.open("nested", 0);
    assert_eq!(process.libraries.pop_initialised(), Some(nested));
    assert_eq!(process.libraries.pop_initialised(), Some(b));
    assert_eq!(process.libraries.pop_initialised(), None, "the initialisers of the other have not begun");
    assert_ne!(opening.root, b);
}

#[test]
fn who_ends_the_process_takes_over() {
    let mut process = process([("a", library(&["b"], &[], &[])), ("b", library(&[], &[], &[]))]);
    let a = process.open("a", 0);
    let objects = process.begin_close(a);
    assert!(process.libraries.finalising(a));
    assert!(!process.libraries.finalising(a));
    assert_eq!(process.libraries.pop_initialised(), Some(process.number("b")));
    assert_eq!(objects.iter().filter(|&&index| process.libraries.finalising(index)).count(), 0);
}

#[test]
fn what_is_abandoned_leaves_nothing() {
    let mut process =
        process([("a", library(&["b"], &[], &[]).symbol(unique("u"))), ("b", library(&[], &[], &["u"]))]);
    let before = process.state();
    let opening = process.begin_by(0, "a", GLOBAL).unwrap().unwrap();
    for &index in process.libraries.abandon(&opening) {
        process.libraries.remove(&process.sys, index);
    }
    assert_eq!((process.state().0, process.state().1), (before.0, before.1));
    assert_eq!(process.libraries.pop_initialised(), None);
    let b = process.open("b", 0);
    assert_eq!(process.word(b, DATA), 0);
}

#[test]
fn refusals_name_the_object() {
    let mut process = process([
        ("pie", library(&[], &[], &[]).entry(consts::DT_FLAGS_1, DF_1_PIE)),
        ("shy", library(&[], &[], &[]).entry(consts::DT_FLAGS_1, DF_1_NOOPEN)),
        ("first", library(&["second"], &[], &[])),
        ("second", library(&["libz.so.1"], &[], &[])),
        ("needs-shy", library(&["shy"], &[], &[])),
        ("large", library(&[], &[], &[]).tls(&[1], RESERVE + 64, 8).rela(GOT, 18, "", 0)),
    ]);
    let before = process.state();
    for (name, object) in [
        ("pie", "/lib/slul/pie"),
        ("shy", "/lib/slul/shy"),
        ("needs-shy", "/lib/slul/shy"),
        ("large", "/lib/slul/large"),
        ("libc.so.6", "libc.so.6"),
        ("nowhere", "nowhere"),
        ("/nowhere", "/nowhere"),
    ] {
        assert_eq!(process.refused(name, GLOBAL).0, object, "{name}");
        assert_eq!(process.state(), before, "{name}");
    }
    let opening = process.begin_by(0, "first", 0).unwrap().unwrap();
    assert_eq!(opening.natives.libraries[..], [&b"libz.so.1"[..]], "what is native is the caller's to bind");
    let objects = process.libraries.abandon(&opening);
    assert_eq!(objects, opening.fresh);
    let arenas = objects.iter().filter_map(|&index| process.libraries.remove(&process.sys, index));
    assert_eq!(arenas.count(), 1, "the last one's group can go");
    assert_eq!(process.names(), [""; 0]);
}

#[test]
fn slots_for_thread_local_storage_are_used_again_and_keys_are_not() {
    let names: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
    let names: &'static [String] = names.leak();
    let scene = names.iter().fold(Scene::new(&ElfBuilder::new()), |scene, name| {
        scene.file(&format!("/lib/slul/{name}"), &library(&[], &[], &[]).tls(&[7], 8, 8))
    });
    let mut process = Process::of(scene);
    let (mut keys, mut open) = (Vec::new(), Vec::new());
    for name in names {
        let index = process.open(name, 0);
        let Some(TlsPlace::Late(late)) = process.libraries.namespace().module(index).tls else { panic!() };
        assert_eq!((late.segment.mem_size, late.segment.file_size, late.distance()), (8, 1, None));
        assert!(late.key != 0 && late.id() >= 1 << 16 && !keys.contains(&late.key));
        keys.push(late.key);
        // Every second one stays.
        assert_eq!(late.entry, TABLE_HEADER + u64::try_from(open.len()).unwrap() * TABLE_ENTRY, "{name}");
        if name.ends_with(['1', '3', '5', '7', '9']) {
            open.push((late.entry, late.id()));
        } else {
            assert_eq!(process.close(index), [name.as_str()]);
        }
    }
    open.dedup();
    assert_eq!(open.len(), 50, "{open:?}");
}

#[test]
fn initial_exec_storage_has_room_that_is_given_back() {
    const TPOFF: u32 = 18;
    let initial = |size| library(&[], &[], &[]).tls(&[], size, 8).rela(DATA, TPOFF, "", 0);
    let mut process = process([
        ("one", initial(40)),
        ("two", initial(RESERVE - 40)),
        ("large", initial(2 * RESERVE)),
        ("own", library(&[], &[], &[]).symbol(Symbol::tls("far", 0)).tls(&[], 8, 8)),
        ("user", library(&["own"], &[], &[]).symbol(Symbol::undefined("far")).rela(DATA, TPOFF, "far", 0)),
    ]);
    let late = |process: &Process, index: usize| match process.libraries.namespace().module(index).tls {
        Some(TlsPlace::Late(late)) => late,
        other => panic!("{other:?}"),
    };
    for times in 0..3 {
        let one = process.open("one", 0);
        let place = late(&process, one);
        assert_eq!(place.distance().unwrap().cast_unsigned(), process.word(one, DATA));
        assert_eq!(place.is_clean(), times == 0, "the second has the place of the first");
        let two = process.open("two", 0);
        assert!(late(&process, two).is_clean() == (times == 0));
        assert!(matches!(process.refused("large", 0).1, Problem::TlsReserve { .. }));
        assert!(matches!(process.refused("user", 0).1, Problem::TlsReserve { size: 8, .. }));
        process.close(one);
        assert!(matches!(process.refused("user", 0).1, Problem::TlsReserve { size: 8, .. }), "a hole");
        process.close(two);
    }
    process.open("own", 0);
    assert!(matches!(process.refused("user", 0).1, Problem::Unsupported(_)), "threads have their own");
}
