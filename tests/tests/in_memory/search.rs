//! The directories of the search for libraries, and their order.

use rtld::elf::consts::{DT_RPATH, DT_RUNPATH};
use rtld::error::{Errno, Problem};
use tests::memory::scene::PROGRAM;
use tests::memory::{Call, ElfBuilder, Scene};

use crate::{paths, program_needing, refused};

/// A file for another machine.
fn foreign() -> Vec<u8> {
    ElfBuilder::new().build().with(18, &183u16.to_le_bytes()).bytes
}

/// The paths that the loader tried to open, without the program and the loader.
fn tried(scene: &Scene) -> Vec<String> {
    assert!(scene.load().is_ok());
    scene.os.opened().split_off(2)
}

#[test]
fn the_whole_order() {
    let program = program_needing(&["x"]).string(DT_RPATH, "/rpath1:/rpath2");
    assert_eq!(
        tried(&Scene::new(&program).library_path("/env1:/env2;/env3")),
        ["/rpath1/x", "/rpath2/x", "/env1/x", "/env2/x", "/env3/x", "/lib/slul/x", "/usr/lib/slul/x86_64/x"]
    );
}

#[test]
fn runpath_comes_after_the_environment_and_hides_rpath() {
    let program = program_needing(&["x"]).string(DT_RPATH, "/rpath").string(DT_RUNPATH, "/runpath");
    let scene = Scene::new(&program).library_path("/env");
    assert_eq!(tried(&scene), ["/env/x", "/runpath/x", "/lib/slul/x", "/usr/lib/slul/x86_64/x"]);
}

#[test]
fn origin_is_the_directory_of_the_object_that_says_it() {
    let program = program_needing(&["a"]).string(DT_RUNPATH, "$ORIGIN/../lib");
    let a = program_needing(&["b"]).string(DT_RUNPATH, "${ORIGIN}/more");
    let scene = Scene::new(&program)
        .file("/opt/app/bin/../lib/a", &a)
        .file("/opt/app/bin/../lib/more/b", &ElfBuilder::new());
    let sealed = scene.seal().unwrap();
    assert_eq!(paths(sealed.namespace.loaded()), [PROGRAM, "/opt/app/bin/../lib/a", "/opt/app/bin/../lib/more/b"]);
}

#[test]
fn an_unknown_origin_is_passed_over() {
    let program = program_needing(&["x"]).string(DT_RUNPATH, "$ORIGIN:/y");
    let scene = Scene { program_path: None, ..Scene::new(&program) };
    assert_eq!(tried(&scene), ["/y/x", "/lib/slul/x", "/usr/lib/slul/x86_64/x"]);
}

#[test]
fn rpath_serves_what_is_needed_further_down() {
    let program = program_needing(&["a"]).string(DT_RPATH, "/r:$ORIGIN");
    let a = program_needing(&["b"]).string(DT_RPATH, "$ORIGIN/own").note(1, 0, 1);
    let scene = Scene::new(&program).file("/r/a", &a);
    let expected = ["/r/a", "/r/own/b", "/r/b", "/opt/app/bin/b", "/lib/slul/b", "/usr/lib/slul/x86_64/b"];
    assert_eq!(tried(&scene), expected);
}

#[test]
fn a_runpath_on_the_way_keeps_all_rpaths_out() {
    let program = program_needing(&["a"]).string(DT_RPATH, "/r");
    let a = program_needing(&["b"]).string(DT_RUNPATH, "/run").note(1, 0, 1);
    let scene = Scene::new(&program).file("/r/a", &a);
    assert_eq!(tried(&scene), ["/r/a", "/run/b", "/lib/slul/b", "/usr/lib/slul/x86_64/b"]);
}

#[test]
fn runpath_serves_only_its_own_object() {
    let program = program_needing(&["a"]).string(DT_RUNPATH, "/run");
    let scene = Scene::new(&program).file("/run/a", &program_needing(&["b"]).note(1, 0, 1));
    assert_eq!(tried(&scene), ["/run/a", "/lib/slul/b", "/usr/lib/slul/x86_64/b"]);
}

#[test]
fn secure_goes_only_where_absolute_paths_lead() {
    let program = program_needing(&["x"]).string(DT_RUNPATH, "$ORIGIN:rel::/abs/$ORIGIN:/abs/$LIB");
    let scene = Scene::new(&program).secure();
    assert_eq!(tried(&scene), ["/abs/lib/x", "/lib/slul/x", "/usr/lib/slul/x86_64/x"]);
    let program = program_needing(&["x"]).string(DT_RPATH, "$ORIGIN:/abs");
    let scene = Scene { program_path: Some(PROGRAM), ..Scene::new(&program).secure() };
    assert_eq!(tried(&scene), ["/abs/x", "/lib/slul/x", "/usr/lib/slul/x86_64/x"], "even if it were known");
}

#[test]
fn secure_follows_no_relative_path() {
    for name in ["./x", "sub/x", "$ORIGIN/x", "/abs/$ORIGIN/x"] {
        let scene = Scene { program_path: Some(PROGRAM), ..Scene::new(&program_needing(&[name])).secure() };
        assert_eq!(refused(scene.load()), (name, Problem::InsecureName(name.as_bytes())));
        assert_eq!(scene.os.opened().len(), 2, "nothing was opened");
    }
    let scene = Scene::new(&program_needing(&["/abs/x"])).secure().file("/abs/x", &ElfBuilder::new());
    assert_eq!(paths(scene.seal().unwrap().namespace.loaded())[1..], ["/abs/x"]);
}

#[test]
fn a_path_is_used_as_it_is_and_has_to_exist() {
    let scene = Scene::new(&program_needing(&["./x"])).file("/lib/slul/x", &ElfBuilder::new());
    assert_eq!(refused(scene.load()), ("./x", Problem::Open(Errno::ENOENT)));
    let scene = Scene::new(&program_needing(&["$ORIGIN/x"])).file("/opt/app/bin/x", &ElfBuilder::new());
    assert_eq!(paths(scene.seal().unwrap().namespace.loaded())[1..], ["/opt/app/bin/x"]);
}

#[test]
fn a_path_with_an_unknown_origin_is_not_called_insecure() {
    let scene = Scene { program_path: None, ..Scene::new(&program_needing(&["$ORIGIN/x"])) };
    let (object, problem) = refused(scene.load());
    assert_eq!(object, "$ORIGIN/x");
    assert!(!problem.to_string().contains("set-id"), "{problem}");
}

#[test]
fn files_for_another_machine_are_passed_over() {
    let program = program_needing(&["x"]).string(DT_RUNPATH, "/a:/b");
    let mut scene = Scene::new(&program).file("/b/x", &ElfBuilder::new());
    scene.os.file("/a/x", &foreign());
    assert_eq!(paths(scene.seal().unwrap().namespace.loaded())[1..], ["/b/x"]);
}

#[test]
fn where_the_object_itself_led_to_them_alone_it_is_an_error() {
    for (tag, path) in [(DT_RUNPATH, "/a/x"), (DT_RPATH, "/a/x"), (DT_RUNPATH, "/lib/slul/x")] {
        let mut scene = Scene::new(&program_needing(&["x"]).string(tag, "/a"));
        scene.os.file(path, &foreign());
        assert_eq!(refused(scene.load()), (path, Problem::Machine(183)));
    }
    let mut scene = Scene::new(&program_needing(&["x"])).library_path("/a");
    scene.os.file("/a/x", &foreign());
    assert_eq!(*scene.seal().unwrap().natives.libraries, [b"x"], "LD_LIBRARY_PATH is not its fault");
    let mut scene = Scene::new(&program_needing(&["/a/x"]));
    scene.os.file("/a/x", &foreign());
    assert_eq!(refused(scene.load()), ("/a/x", Problem::Machine(183)));
}

#[test]
fn absent_files_are_passed_over_and_other_failures_are_not() {
    for absent in [2, 20, 13, 1, 36, 40].map(Errno) {
        let mut scene =
            Scene::new(&program_needing(&["x"]).string(DT_RUNPATH, "/a:/b")).file("/b/x", &ElfBuilder::new());
        scene.os.fail(Call::Open, "/a/x", absent);
        assert_eq!(paths(scene.seal().unwrap().namespace.loaded())[1..], ["/b/x"]);
    }
    for (call, problem) in [
        (Call::Open, Problem::Open(Errno(24))),
        (Call::Read, Problem::Read(Errno(5))),
        (Call::Reserve, Problem::Map(Errno::ENOMEM)),
        (Call::Map, Problem::Map(Errno::EPERM)),
    ] {
        let errno = problem.errno();
        let mut scene = Scene::new(&program_needing(&["x"])).libraries([("x", ElfBuilder::new())]);
        scene.os.fail(call, "/lib/slul/x", errno);
        assert_eq!(refused(scene.load()), ("/lib/slul/x", problem));
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let mut scene = Scene::new(&program_needing(&["x"]));
    scene.os.directory("/lib/slul/x");
    assert_eq!(refused(scene.load()), ("/lib/slul/x", Problem::NotRegular));
}
