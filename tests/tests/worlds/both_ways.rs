//! Native code calls the program, and is bound to what program and libraries export.

use crate::case::{Case, Linker, Part, Reference};

/// A garbage collector, whose roots are in libraries of this world.
fn collector() -> Case {
    Case::new("both_ways/collector", "collector")
        .opens()
        .link(&["-lgc"])
        .part(Part::library("libheld"))
        .part(Part::library("liblate").apart())
        .wants("/usr/include/gc.h", "libgc-dev")
        .gnu_alone("there is no libgc for musl")
}

/// DT_PREINIT_ARRAY of the program.
fn preinit(how: &str, compile: &[&str], link: &[&str]) -> Case {
    let case = Case::new(format!("both_ways/preinit-{how}"), "preinit").compile(compile).link(link);
    case.part(Part::native("libnative")).gnu_alone("musl does not run it")
}

pub(crate) fn cases() -> Vec<Case> {
    let native = || Part::native("libnative");
    let library = || Part::library("libfree");
    let memory = "the program's memory functions are not exported to libc";
    vec![
        Case::new("both_ways/callbacks", "callbacks").part(library()),
        Case::new("both_ways/callbacks-no-plt", "callbacks").flags(&["-fno-plt"]).part(library()),
        Case::new("both_ways/callbacks-exec", "callbacks")
            .compile(&["-fno-pie"])
            .link(&["-no-pie"])
            .part(library()),
        Case::new("both_ways/callbacks-hardened", "callbacks")
            .compile(&[
                "-fstack-protector-all",
                "-D_FORTIFY_SOURCE=2",
                "-fcf-protection",
                "-fstack-clash-protection",
            ])
            .link(&["-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,separate-code"])
            .part(library()),
        Case::new("both_ways/callbacks-lld", "callbacks").linker(Linker::Lld).part(library()),
        Case::new("both_ways/callbacks-mold", "callbacks").linker(Linker::Mold).part(library()),
        Case::new("both_ways/services", "services").link(&["-lm"]),
        Case::new("both_ways/services-copies", "services").compile(&["-fno-pie"]).link(&["-no-pie", "-lm"]),
        Case::new("both_ways/needed-by-native", "shared_library")
            .part(library())
            .part(native().link(&["-l:libfree.so", "-Wl,-rpath,{dir}"])),
        Case::new("both_ways/sqlite", "sqlite")
            .link(&["-lsqlite3"])
            .wants("/usr/include/sqlite3.h", "libsqlite3-dev")
            .gnu_alone("there is no sqlite for musl"),
        collector(),
        preinit("pie", &["-mno-direct-extern-access"], &[]),
        preinit("copies", &["-fno-pie"], &["-no-pie"]),
        Case::new("both_ways/exported", "exported").link(&["-rdynamic"]).part(library()).part(native()),
        Case::new("both_ways/exported-exec", "exported")
            .compile(&["-fno-pie"])
            .link(&["-rdynamic", "-no-pie"])
            .part(library())
            .part(native()),
        Case::new("both_ways/exported-ifunc", "exported")
            .flags(&["-DCHOSEN"])
            .link(&["-rdynamic"])
            .part(library())
            .part(native())
            .gnu_alone("musl has no IFUNC"),
        Case::new("both_ways/exported-locals", "exported")
            .flags(&["-DLOCALS"])
            .link(&["-rdynamic"])
            .part(library())
            .part(native()),
        Case::new("both_ways/own-malloc", "own_malloc").link(&["-rdynamic"]).part(native()),
        Case::new("both_ways/own-malloc-exec", "own_malloc")
            .compile(&["-fno-pie"])
            .link(&["-rdynamic", "-no-pie"])
            .part(native()),
        Case::new("both_ways/own-memory", "own_memory")
            .compile(&["-fno-builtin"])
            .link(&["-rdynamic"])
            .part(native())
            .reference(Reference::Says("own 1\nafter 1\n8 1 1\n", 17, memory)),
    ]
}
