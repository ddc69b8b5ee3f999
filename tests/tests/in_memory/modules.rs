//! The loaded objects: their order, and the world of each name in DT_NEEDED.

use rtld::elf::version::VersionRef;
use rtld::link::namespace::Need;
use rtld::native::needs::WhyEager;
use tests::memory::file::{DATA, GOT};
use tests::memory::scene::{LOADER, STUBS};
use tests::memory::{ElfBuilder, Scene, Symbol};

use crate::{paths, program_needing, text, word};

const R_64: u32 = 1;
const GLOB_DAT: u32 = 6;

#[test]
fn breadth_first_in_link_order() {
    let scene = Scene::new(&program_needing(&["a", "b"])).libraries([
        ("a", program_needing(&["c", "b"])),
        ("b", program_needing(&["d"])),
        ("c", program_needing(&["d"])),
        ("d", ElfBuilder::new()),
    ]);
    let sealed = scene.seal().unwrap();
    let modules: Vec<_> = sealed.namespace.loaded().map(|(_, module)| module).collect();
    assert_eq!(
        paths(sealed.namespace.loaded())[1..],
        ["/lib/slul/a", "/lib/slul/b", "/lib/slul/c", "/lib/slul/d"]
    );
    assert_eq!(modules[1].needed, [Need::Module(3), Need::Module(2)]);
    assert_eq!(
        modules.iter().map(|module| module.needer).collect::<Vec<_>>(),
        [None, Some(0), Some(0), Some(1), Some(2)]
    );
    assert_eq!(paths(sealed.namespace.all()).last(), Some(&LOADER));
    assert_eq!(sealed.init_order, [4, 3, 2, 1, 0]);
    assert!(!sealed.natives.any());
}

#[test]
fn initialised_after_what_they_need_even_in_cycles() {
    let scene = Scene::new(&program_needing(&["a"])).libraries([
        ("a", program_needing(&["libc.so.6", "b"]).note(1, 0, 1)),
        ("b", program_needing(&["a", "c", "b"])),
        ("c", ElfBuilder::new()),
    ]);
    // glibc's order: from the end of the scope, with needs before the object that needs them.
    assert_eq!(scene.seal().unwrap().init_order, [3, 1, 2, 0]);
}

#[test]
fn one_file_by_two_names_is_one_module() {
    let mut scene =
        Scene::new(&program_needing(&["one", "two", "/opt/three"])).libraries([("one", ElfBuilder::new())]);
    scene.os.link("/lib/slul/two", "/lib/slul/one");
    scene.os.link("/opt/three", "/lib/slul/one");
    let sealed = scene.seal().unwrap();
    assert_eq!(paths(sealed.namespace.loaded())[1..], ["/lib/slul/one"]);
    assert_eq!(sealed.namespace.module(0).needed, [Need::Module(1); 3]);
}

#[test]
fn a_soname_stands_for_the_file_that_has_it() {
    let scene = Scene::new(&program_needing(&["/opt/file", "libx.so"]))
        .file("/opt/file", &ElfBuilder::library("libx.so"))
        .libraries([("libx.so", ElfBuilder::library("libx.so"))]);
    let sealed = scene.seal().unwrap();
    assert_eq!(paths(sealed.namespace.loaded())[1..], ["/opt/file"]);
    assert_eq!(scene.os.opened().iter().filter(|path| path.contains("libx.so")).count(), 0);
}

#[test]
fn without_soname_the_name_that_was_asked_for_counts() {
    let scene = Scene::new(&program_needing(&["a", "b"]))
        .libraries([("a", ElfBuilder::new()), ("b", program_needing(&["a"]))]);
    let sealed = scene.seal().unwrap();
    assert_eq!(text(sealed.namespace.module(1).soname), "a");
    assert_eq!(scene.os.opened().iter().filter(|path| path.ends_with("/a")).count(), 1);
}

#[test]
fn a_library_that_names_a_libc_is_native() {
    for libc in ["libc.so.6", "libm.so.6", "libc.so", "libc.musl-x86_64.so.1"] {
        let scene = Scene::new(&program_needing(&["native"])).libraries([("native", program_needing(&[libc]))]);
        let sealed = scene.seal().unwrap();
        assert_eq!(sealed.namespace.loaded().count(), 1, "{libc}");
        assert_eq!(*sealed.natives.libraries, [b"native"]);
        assert_eq!(sealed.namespace.module(0).needed, [Need::Outside]);
        assert_eq!(scene.os.mapped(), 2, "only the program and the loader stay mapped");
    }
}

#[test]
fn the_abi_note_makes_it_a_library_of_this_world() {
    let library = program_needing(&["libc.so.6"]).note(1, 0, 1);
    let sealed = Scene::new(&program_needing(&["ours"])).libraries([("ours", library)]).seal().unwrap();
    assert_eq!(paths(sealed.namespace.loaded())[1..], ["/lib/slul/ours"]);
    assert_eq!(*sealed.natives.libraries, [b"libc.so.6"]);
}

const SONAME: &str = "slulrtld-x86_64.so.1";

/// A start with libraries in `/opt`, where ld.so may find them: the libraries of this world, and what is left to libc.
fn worlds<const N: usize>(program: &[&str], libraries: [(&str, ElfBuilder); N]) -> (Vec<String>, Vec<String>) {
    let scene = Scene::new(&program_needing(program)).file(LOADER, &ElfBuilder::library(SONAME));
    let scene = libraries.iter().fold(scene, |scene, (path, elf)| scene.file(path, elf));
    let sealed = scene.seal().unwrap();
    assert_eq!(scene.os.mapped(), sealed.namespace.all().count(), "what is native does not stay mapped");
    let ours = paths(sealed.namespace.loaded())[1..].iter().map(|&path| path.to_owned()).collect();
    (ours, sealed.natives.libraries.iter().map(|name| text(name).to_owned()).collect())
}

#[test]
fn what_needs_something_native_is_native_unless_it_says_otherwise() {
    let (a, b, c, d) = ("/opt/a", "/opt/b", "/opt/c", "/opt/d");
    let free = ElfBuilder::new;
    let noted = |need: &str| program_needing(&[need]).note(1, 0, 1);
    // Through others, and in a circle; what only they need goes with them.
    assert_eq!(
        worlds(
            &[a, d],
            [
                (a, program_needing(&[b, d])),
                (b, program_needing(&[c, a])),
                (c, program_needing(&["libz"])),
                (d, free())
            ]
        ),
        (vec![d.into()], vec![a.into()])
    );
    assert_eq!(
        worlds(&[a], [(a, program_needing(&[b, c])), (b, free()), (c, program_needing(&["libm.so.6"]))]),
        (vec![], vec![a.into()])
    );
    // The note, the loader, and nothing native at all keep a library here, with those that need it.
    assert_eq!(worlds(&[a], [(a, noted("libz"))]), (vec![a.into()], vec!["libz".into()]));
    assert_eq!(
        worlds(&[a], [(a, noted(b)), (b, program_needing(&[c])), (c, program_needing(&["libz"]))]),
        (vec![a.into()], vec![b.into()])
    );
    assert_eq!(
        worlds(&[a], [(a, program_needing(&[b])), (b, program_needing(&["libz", SONAME]))]),
        (vec![a.into(), b.into()], vec!["libz".into()])
    );
    assert_eq!(worlds(&[a], [(a, program_needing(&[b])), (b, free())]), (vec![a.into(), b.into()], vec![]));
    // The order of what is left stays that of the needs.
    assert_eq!(
        worlds(&[a, "liby", b], [(a, program_needing(&["libz"])), (b, noted("libx"))]),
        (vec![b.into()], vec![a.into(), "liby".into(), "libx".into()])
    );
}

#[test]
fn native_libraries_in_link_order_each_once() {
    let scene = Scene::new(&program_needing(&["libz.so.1", "ours", "libc.so.6"]))
        .libraries([("ours", program_needing(&["libm", "libz.so.1"]))]);
    let sealed = scene.seal().unwrap();
    assert_eq!(*sealed.natives.libraries, [&b"libz.so.1"[..], b"libc.so.6", b"libm"]);
    assert_eq!(sealed.namespace.module(0).needed, [Need::Outside, Need::Module(1), Need::Outside]);
}

#[test]
fn native_functions_wait_in_stubs() {
    let program = program_needing(&["libz.so.1"])
        .symbol(Symbol::undefined("inflate").kind(2).version("libz.so.1", "ZLIB_1"))
        .symbol(Symbol::undefined("crc32").kind(2))
        .rela(DATA, R_64, "inflate", 0)
        .rela(GOT, GLOB_DAT, "crc32", 99)
        .jump_slot(GOT + 8, "inflate");
    let sealed = Scene::new(&program).seal().unwrap();
    let stub = |number: u32| STUBS.address(number).0;
    assert_eq!(word(&sealed, 0, DATA), stub(0));
    assert_eq!(word(&sealed, 0, GOT), stub(1));
    assert_eq!(word(&sealed, 0, GOT + 8), stub(0), "one function, one stub");
    let [inflate, crc32] = *sealed.natives.imports else { panic!("{:?}", sealed.natives.imports) };
    assert_eq!((text(inflate.name), text(crc32.name)), ("inflate", "crc32"));
    assert_eq!(inflate.version, Some(VersionRef { file: b"libz.so.1", version: b"ZLIB_1" }));
    assert_eq!((crc32.version, crc32.strong, crc32.st_type, crc32.referrer), (None, true, 2, 0));
    let slots: Vec<_> = sealed.natives.slots.iter().map(|slot| (slot.vaddr.0, slot.import, slot.r_type)).collect();
    assert_eq!(slots, [(DATA, 0, R_64), (GOT, 1, GLOB_DAT), (GOT + 8, 0, 7)]);
    assert_eq!(sealed.natives.slots[1].addend, 0, "GLOB_DAT has none, whatever the field says");
    assert_eq!(sealed.natives.eager, None);
}

#[test]
fn what_can_not_wait_says_why() {
    let undefined = |kind| Symbol::undefined("x").kind(kind);
    for (symbol, r_type, addend, why) in [
        (undefined(1), GLOB_DAT, 0, WhyEager::Data),
        (undefined(0), R_64, 0, WhyEager::Untyped),
        (undefined(2), R_64, 4, WhyEager::Addend),
        (undefined(2).weak(), GLOB_DAT, 0, WhyEager::Weak),
        (undefined(6), 18, 0, WhyEager::Tls),
    ] {
        let program = program_needing(&["native"]).symbol(symbol).rela(DATA, r_type, "x", addend).word(DATA, 1);
        let sealed = Scene::new(&program).seal().unwrap();
        assert_eq!(sealed.natives.eager, Some((&b"x"[..], why)));
        assert_eq!(word(&sealed, 0, DATA), 0, "{why:?}: nothing until ld.so has filled it");
    }
}

#[test]
fn functions_beyond_the_stubs_are_loaded_eagerly() {
    let names = ["f0", "f1", "f2", "f3", "f4", "f5"];
    let program = names.iter().zip(0..).fold(program_needing(&["native"]), |program, (name, number)| {
        program.symbol(Symbol::undefined(name).kind(2)).jump_slot(GOT + 8 * number, name)
    });
    let sealed = Scene::new(&program).seal().unwrap();
    assert_eq!(sealed.natives.eager, Some((&b"f4"[..], WhyEager::NoStub)));
    assert_eq!([3, 4].map(|slot| word(&sealed, 0, GOT + 8 * slot)), [STUBS.address(3).0, 0]);
}

#[test]
fn the_loader_is_needed_by_name_and_searched_last() {
    let program = program_needing(&["slulrtld-x86_64.so.1", "a"])
        .symbol(Symbol::undefined("slul_exit"))
        .symbol(Symbol::undefined("memcpy"))
        .jump_slot(GOT, "slul_exit")
        .jump_slot(GOT + 8, "memcpy");
    let loader = ElfBuilder::library("slulrtld-x86_64.so.1")
        .symbol(Symbol::function("slul_exit", 0x1400))
        .symbol(Symbol::function("memcpy", 0x1410))
        .rela(DATA, R_64, "memcpy", 0);
    let scene = Scene::new(&program)
        .libraries([("a", ElfBuilder::new().symbol(Symbol::function("memcpy", 0x1420)))])
        .file(LOADER, &loader);
    let sealed = scene.seal().unwrap();
    let bias = |module| crate::bias(&sealed, module);
    assert_eq!(word(&sealed, 0, GOT), bias(2) + 0x1400);
    assert_eq!(word(&sealed, 0, GOT + 8), bias(1) + 0x1420, "a library comes before the loader");
    assert_eq!(word(&sealed, 2, DATA), 0, "the loader is not relocated again");
    assert!(!sealed.natives.any());
    assert_eq!(sealed.namespace.module(0).needed, [Need::Outside, Need::Module(1)]);
}
