//! Look-up of names: scope, binding, versions, hash tables.

use rtld::base::addr::RuntimeAddr;
use rtld::error::Problem;
use tests::memory::file::{DATA, GOT, TEXT};
use tests::memory::scene::PROGRAM;
use tests::memory::{ElfBuilder, Hash, Scene, Symbol};

use crate::{bias, program_needing, refused, word};

const R_64: u32 = 1;
const GLOB_DAT: u32 = 6;
const TPOFF64: u32 = 18;

/// A program with one reference, in the word at DATA.
fn referring(symbol: Symbol, needs: &[&str]) -> ElfBuilder {
    program_needing(needs).symbol(symbol).rela(DATA, R_64, "x", 0).word(DATA, 7)
}

#[test]
fn the_first_definition_in_scope_wins_for_everyone() {
    let defines = |vaddr| ElfBuilder::new().symbol(Symbol::object("x", vaddr)).rela(GOT, GLOB_DAT, "x", 0);
    let program = referring(Symbol::undefined("x"), &["a", "b"]);
    let sealed = Scene::new(&program).libraries([("a", defines(DATA)), ("b", defines(DATA + 8))]).seal().unwrap();
    let first = bias(&sealed, 1) + DATA;
    assert_eq!([word(&sealed, 0, DATA), word(&sealed, 1, GOT), word(&sealed, 2, GOT)], [first; 3]);

    let program = program_needing(&["a"]).symbol(Symbol::object("x", DATA + 16));
    let sealed = Scene::new(&program).libraries([("a", defines(DATA))]).seal().unwrap();
    assert_eq!(word(&sealed, 1, GOT), bias(&sealed, 0) + DATA + 16, "the program comes first");
}

#[test]
fn a_weak_definition_is_as_good_as_any() {
    let library = |symbol| ElfBuilder::new().symbol(symbol);
    let scene = Scene::new(&referring(Symbol::undefined("x"), &["a", "b"])).libraries([
        ("a", library(Symbol::object("x", DATA).weak())),
        ("b", library(Symbol::object("x", DATA + 8))),
    ]);
    let sealed = scene.seal().unwrap();
    assert_eq!(word(&sealed, 0, DATA), bias(&sealed, 1) + DATA);
}

#[test]
fn what_is_hidden_local_or_old_is_not_found() {
    let old = Symbol::object("x", DATA).of_version("V_2").old();
    let scene = Scene::new(&referring(Symbol::undefined("x"), &["a", "b", "c", "d"])).libraries([
        ("a", ElfBuilder::new().symbol(Symbol::object("x", DATA).local())),
        ("b", ElfBuilder::new().symbol(Symbol::object("x", DATA).hidden())),
        ("c", ElfBuilder::new().symbol(Symbol::object("y", DATA).of_version("V_1")).symbol(old)),
        ("d", ElfBuilder::new().symbol(Symbol::object("x", DATA + 8))),
    ]);
    let sealed = scene.seal().unwrap();
    assert_eq!(word(&sealed, 0, DATA), bias(&sealed, 4) + DATA + 8);
}

#[test]
fn an_object_binds_its_hidden_and_local_symbols_to_itself() {
    for symbol in [Symbol::object("x", DATA + 8).hidden(), Symbol::object("x", DATA + 8).local()] {
        let scene = Scene::new(&program_needing(&["a", "b"])).libraries([
            ("a", ElfBuilder::new().symbol(Symbol::object("x", DATA))),
            ("b", referring(symbol, &[])),
        ]);
        let sealed = scene.seal().unwrap();
        assert_eq!(word(&sealed, 2, DATA), bias(&sealed, 2) + DATA + 8);
    }
}

#[test]
fn both_hash_tables_find_every_symbol() {
    let names: Vec<String> = (0..60).map(|number| format!("symbol_{number}")).collect();
    for hash in [Hash::Gnu, Hash::SysV] {
        let library = names.iter().zip(TEXT..).fold(ElfBuilder::new().hash(hash), |library, (name, vaddr)| {
            library.symbol(Symbol::function(name, vaddr))
        });
        for (name, vaddr) in names.iter().zip(TEXT..) {
            let program =
                program_needing(&["a"]).symbol(Symbol::undefined(name)).rela(DATA, R_64, name, 0).hash(hash);
            let sealed = Scene::new(&program).libraries([("a", library.clone())]).seal().unwrap();
            assert_eq!(word(&sealed, 0, DATA), bias(&sealed, 1) + vaddr, "{hash:?} {name}");
        }
        let scene = Scene::new(&referring(Symbol::undefined("x"), &["a"])).libraries([("a", library)]);
        assert_eq!(refused(scene.seal()).1, Problem::UndefinedSymbol(b"x"));
    }
    let library = ElfBuilder::new().hash(Hash::None).symbol(Symbol::object("x", DATA));
    let scene = Scene::new(&referring(Symbol::undefined("x"), &["a"])).libraries([("a", library)]);
    assert_eq!(refused(scene.seal()).1, Problem::UndefinedSymbol(b"x"));
}

#[test]
fn an_absolute_symbol_is_not_moved() {
    let library = ElfBuilder::new().symbol(Symbol::absolute("x", 42));
    let scene = Scene::new(&referring(Symbol::undefined("x"), &["a"])).libraries([("a", library)]);
    assert_eq!(word(&scene.seal().unwrap(), 0, DATA), 42);
}

#[test]
fn a_weak_reference_to_nothing_is_zero() {
    let program = referring(Symbol::undefined("x").weak(), &[])
        .rela(DATA + 8, R_64, "x", 5)
        .rela(GOT, GLOB_DAT, "x", 5)
        .word(DATA + 8, 7);
    let sealed = Scene::new(&program).seal().unwrap();
    assert_eq!([DATA, DATA + 8, GOT].map(|at| word(&sealed, 0, at)), [0, 5, 0]);
}

#[test]
fn a_strong_reference_to_nothing_is_refused_by_name() {
    let scene = Scene::new(&program_needing(&["a"])).libraries([("a", referring(Symbol::undefined("x"), &[]))]);
    assert_eq!(refused(scene.seal()), ("/lib/slul/a", Problem::UndefinedSymbol(b"x")));
    let error = scene.seal().err().unwrap();
    assert_eq!(error.to_string(), "/lib/slul/a: undefined symbol: x");
}

#[test]
fn a_version_of_a_native_file_goes_past_our_definitions() {
    let program = referring(Symbol::undefined("x").kind(2).version("native", "V1"), &["native", "a"]);
    let library = ElfBuilder::new().symbol(Symbol::function("x", TEXT));
    let sealed = Scene::new(&program).libraries([("a", library.clone())]).seal().unwrap();
    assert_eq!(sealed.natives.imports[0].name, b"x");
    assert_eq!(word(&sealed, 0, DATA), 0x5000_0000);

    let program = referring(Symbol::undefined("x").kind(2).version("a", "V1"), &["native", "a"]);
    let sealed = Scene::new(&program).libraries([("a", library)]).seal().unwrap();
    assert!(sealed.natives.imports.is_empty(), "the version is of a library of this world");
    assert_eq!(word(&sealed, 0, DATA), bias(&sealed, 1) + TEXT);
}

#[test]
fn each_reference_gets_the_version_that_it_asks_for() {
    for hash in [Hash::Gnu, Hash::SysV] {
        let library = ElfBuilder::new()
            .hash(hash)
            .symbol(Symbol::object("x", DATA).of_version("V_1").old())
            .symbol(Symbol::object("x", DATA + 8).of_version("V_2").old())
            .symbol(Symbol::object("x", DATA + 16).of_version("V_3"));
        let value = |reference: Symbol| {
            let scene = Scene::new(&referring(reference, &["a"])).libraries([("a", library.clone())]);
            let sealed = scene.seal().unwrap();
            word(&sealed, 0, DATA) - bias(&sealed, 1)
        };
        let of = |version: &str| value(Symbol::undefined("x").version("a", version));
        assert_eq!(["V_1", "V_2", "V_3"].map(of), [DATA, DATA + 8, DATA + 16], "{hash:?}");
        assert_eq!(
            value(Symbol::undefined("x")),
            DATA,
            "the first: what is older than versions was linked with it"
        );
    }
}

#[test]
fn a_version_that_a_library_lacks_is_refused() {
    let library = ElfBuilder::library("a").symbol(Symbol::object("x", DATA).of_version("V_1"));
    let scene =
        Scene::new(&referring(Symbol::undefined("x").version("a", "V_2"), &["a"])).libraries([("a", library)]);
    let problem = Problem::VersionNotFound { file: b"a", version: b"V_2" };
    assert_eq!(refused(scene.seal()), (PROGRAM, problem));
    assert!(problem.to_string().contains("V_2"));
}

#[test]
fn thread_local_symbols_have_no_address() {
    let library = ElfBuilder::new().symbol(Symbol::tls("x", 0)).tls(&[0; 8], 8, 8);
    let scene = Scene::new(&referring(Symbol::undefined("x"), &["a"])).libraries([("a", library)]);
    let why = "is thread-local, but not used so";
    assert_eq!(refused(scene.seal()).1, Problem::SymbolKind { symbol: b"x", why });
    let of = |symbol| {
        let program = ElfBuilder::new().symbol(symbol).rela(DATA, TPOFF64, "x", 0);
        refused(Scene::new(&program).seal()).1
    };
    let problem = Problem::Unsupported("thread-local symbol of an object without PT_TLS");
    assert_eq!(of(Symbol::tls("x", DATA)), problem);
    let why = "is not thread-local, but used so";
    assert_eq!(of(Symbol::object("x", DATA)), Problem::SymbolKind { symbol: b"x", why });
}

#[test]
fn a_plt_slot_is_the_address_whatever_its_type_says() {
    for kind in [0, 2, 10] {
        let program = program_needing(&["a", "b"]).symbol(Symbol::undefined("x").kind(kind).value(TEXT));
        let library = ElfBuilder::new().symbol(Symbol::function("x", TEXT + 8).kind(10));
        let scene =
            Scene::new(&program).libraries([("a", library), ("b", referring(Symbol::undefined("x"), &[]))]);
        let sealed = scene.seal().unwrap();
        assert_eq!(word(&sealed, 2, DATA), bias(&sealed, 0) + TEXT, "type {kind}");
        assert!(sealed.indirect.is_empty(), "no resolver is asked");
    }
}

#[test]
fn resolvers_are_left_for_later() {
    let library = ElfBuilder::new().symbol(Symbol::function("x", TEXT).kind(10));
    let scene = Scene::new(&referring(Symbol::undefined("x"), &["a"])).libraries([("a", library)]);
    let sealed = scene.seal().unwrap();
    let resolver = RuntimeAddr(bias(&sealed, 1) + TEXT);
    let [word] = &*sealed.indirect else { panic!("one word waits: {:?}", sealed.indirect) };
    assert_eq!((word.module, word.resolver, word.addend), (0, resolver, 0));
}

#[test]
fn names_that_tell_something_are_noticed() {
    let weak = |name: &str| ElfBuilder::new().symbol(Symbol::undefined(name).weak()).rela(DATA, R_64, name, 0);
    let sealed = Scene::new(&weak("__stack_chk_fail")).seal().unwrap();
    assert!(sealed.seen.canary && !sealed.seen.libc_wanted);
    let relocated = Scene::new(&weak("slul_load_libc")).relocate().unwrap();
    assert!(relocated.link_map_changes());
    assert!(!Scene::new(&weak("x")).relocate().unwrap().link_map_changes());
}
