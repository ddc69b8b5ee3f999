//! The environment: libc's use of it, and the variables that are hidden from libc.

use crate::case::{Case, Part, Reference};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str| {
        Case::new(format!("environment/{name}"), "environment")
            .part(Part::native("libnative"))
            .env("A", "first")
            .env("C", "gone")
            .env("PATH", "/usr/bin:/bin")
    };
    vec![
        case("ordinary"),
        case("preload").part(Part::native("libpreload").apart()).env("LD_PRELOAD", "{dir}/libpreload.so"),
        case("preload-no-plt")
            .compile(&["-fno-plt"])
            .part(Part::native("libpreload").apart())
            .env("LD_PRELOAD", "{dir}/libpreload.so"),
        case("bind-now").env("LD_BIND_NOW", "1"),
        case("tunables").env("GLIBC_TUNABLES", "glibc.malloc.perturb=170"),
        case("edited").compile(&["-DEDITED"]),
        // Children are ordinary executables, and would print theirs.
        case("show-auxv-off").env("LD_SHOW_AUXV", "0").compile(&["-DCHILDLESS"]).reference(Reference::Says(
            SHOW_AUXV,
            17,
            "glibc's ld.so shows it whatever the value, and ours when it is not 0; the variable is still there",
        )),
        case("edited-trace-off").compile(&["-DEDITED"]).env("LD_TRACE_LOADED_OBJECTS", "0").reference(
            Reference::Says(
                "number 1\nA=the program's the program's\nown A=the program's\nperturbed 0\n",
                17,
                "glibc's ld.so lists and ends whatever the value, and ours when it is not 0",
            ),
        ),
    ]
}

const SHOW_AUXV: &str = "number 1\nA=first first\nA=first first\nA=three three\nB=two two\nC=none none\nP=new new\n\
                         LD_TRACE_LOADED_OBJECTS=none none\nLD_SHOW_AUXV=0 0\n\
                         A=none none\nA=last last\nperturbed 0\n";
