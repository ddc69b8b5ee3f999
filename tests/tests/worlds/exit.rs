//! Exit: the finalisers and handlers that run, the output of stdio, and their order.

use crate::case::{Case, Part, Reference};
use crate::unwinding::GXX;

const LAZY_CONSTRUCTOR: &str = "a native constructor runs at the first native call, when the program is under way";

/// Ways and places, by their names in `exit.c`.
const LEAVINGS: &[(&str, &str, &str)] = &[
    ("return", "RETURN", "MAIN"),
    ("slul_exit", "WORLD_EXIT", "MAIN"),
    ("exit", "EXIT", "MAIN"),
    ("quick_exit", "QUICK_EXIT", "MAIN"),
    ("_exit", "_EXIT_", "MAIN"),
    ("exit_group", "EXIT_GROUP", "MAIN"),
    ("abort", "ABORT", "MAIN"),
    ("pthread_exit", "PTHREAD_EXIT", "MAIN"),
    ("terminated", "TERMINATED", "MAIN"),
    ("crash", "CRASH", "MAIN"),
    ("fork", "FORK", "MAIN"),
    ("exit-in-own-thread", "EXIT", "OWN_THREAD"),
    ("slul_exit-in-own-thread", "WORLD_EXIT", "OWN_THREAD"),
    ("exit-in-native-thread", "EXIT", "NATIVE_THREAD"),
    ("slul_exit-in-native-thread", "WORLD_EXIT", "NATIVE_THREAD"),
    ("quick_exit-in-native-thread", "QUICK_EXIT", "NATIVE_THREAD"),
    ("exit-in-qsort", "EXIT", "QSORT"),
    ("slul_exit-in-qsort", "WORLD_EXIT", "QSORT"),
    ("exit-in-callback", "EXIT", "NATIVE_CALLBACK"),
    ("abort-in-callback", "ABORT", "NATIVE_CALLBACK"),
    ("pthread_exit-in-callback", "PTHREAD_EXIT", "NATIVE_CALLBACK"),
    ("exit-in-program-constructor", "EXIT", "PROGRAM_CONSTRUCTOR"),
    ("slul_exit-in-program-constructor", "WORLD_EXIT", "PROGRAM_CONSTRUCTOR"),
    ("quick_exit-in-program-constructor", "QUICK_EXIT", "PROGRAM_CONSTRUCTOR"),
    ("exit-in-library-constructor", "EXIT", "LIBRARY_CONSTRUCTOR"),
    ("exit-in-native-constructor", "EXIT", "NATIVE_CONSTRUCTOR"),
    ("_exit-in-program-destructor", "RETURN", "PROGRAM_DESTRUCTOR"),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = LEAVINGS.iter().map(|&(name, way, place)| leaving(name, way, place)).collect();
    // Without a native call libc is not brought in, and no native finaliser runs.
    let quiet = "library up\nprogram up\nprogram\nprogram down\nlibrary down\n";
    let silent = leaving("no-native-call", "RETURN", "MAIN").flags(&["-DSILENT"]);
    cases.push(silent.reference(Reference::Lazily(quiet, "libc is touched only if it is called")));
    // Printed by write(2), not by stdio.
    let raw = leaving("raw", "EXIT", "MAIN").flags(&["-DRAW"]);
    cases.push(raw.reference(Reference::Moves(&["native up"])));
    for (name, flags) in [("constructors", &[][..]), ("constructor-waits", &["-DWAITS"])] {
        let case = Case::new(format!("exit/{name}"), "constructors").flags(flags).link(&["-rdynamic"]);
        let case = case.native_first().arg("argument").env("A", "first").part(Part::library("libfree"));
        cases.push(case.part(Part::native("libnative").link(&["-lpthread"])));
    }
    for (name, flags) in [("opened-native", &[][..]), ("opened-library", &["-DLIBRARY"])] {
        let case = Case::new(format!("exit/in-constructor-of-{name}"), "exit_opened").flags(flags).opens();
        cases.push(case.part(Part::library("libfree").apart()).part(Part::native("libnative").apart()));
    }
    for (name, flag) in [("exit", "-DEXIT"), ("return", "-DRETURN"), ("quick_exit", "-DQUICK_EXIT")] {
        let native = Part::native("libcxx").of("exit_cxx");
        let case = Case::new(format!("exit/cxx-{name}"), "exit_of_cxx").compile(&[flag]).part(native);
        cases.push(case.wants(GXX.0, GXX.1).gnu_alone("there is no C++ library for musl"));
    }
    cases
}

fn leaving(name: &str, way: &str, place: &str) -> Case {
    let case = Case::new(format!("exit/{name}"), "exit")
        .flags(&[&format!("-DWAY={way}"), &format!("-DPLACE={place}")])
        .native_first()
        .part(Part::library("libfree"));
    // In ordinary executables the libc decides whether these libraries are initialised before native ones; in eager
    // mode native ones always come first.
    let case = if place == "NATIVE_CONSTRUCTOR" { Case { parts: Vec::new(), ..case } } else { case };
    let case = case.part(Part::native("libnative").link(&["-lpthread"]));
    let case = if way == "WORLD_EXIT" { case.leaves() } else { case };
    match place {
        "NATIVE_CONSTRUCTOR" => case.reference(Reference::Lazily(
            "program up\nprogram\nprogram down\nnative up\nnative atexit\nprogram's last words\n",
            LAZY_CONSTRUCTOR,
        )),
        _ => case,
    }
}
