//! Unwinding through frames of both worlds.

use crate::case::{Case, Linker, Part};

/// Options for unwind tables.
const TABLES: [&str; 2] = ["-fexceptions", "-fasynchronous-unwind-tables"];

/// The compiler of C++, and the package that it is in.
pub(crate) const GXX: (&str, &str) = ("/usr/bin/g++", "g++");

pub(crate) fn cases() -> Vec<Case> {
    let thrower = || Part::native("libthrower").of("thrower");
    let library = || Part::library("libfree");
    let case = |name: &str| {
        let case = Case::new(format!("unwinding/{name}"), "unwinding").flags(&TABLES).part(thrower());
        case.wants(GXX.0, GXX.1).gnu_alone("there is no C++ library for musl")
    };
    let cxx = |name: &str| {
        let case = Case::new(format!("unwinding/cxx-{name}"), "cxx_program").link(&["-lstdc++", "-lgcc_s"]);
        case.compile(&["-std=c++20"]).wants(GXX.0, GXX.1).gnu_alone("there is no C++ library for musl")
    };
    vec![
        cxx("pie"),
        cxx("exec").compile(&["-fno-pie"]).link(&["-no-pie"]),
        cxx("no-plt").compile(&["-fno-plt"]),
        cxx("lld").linker(Linker::Lld),
        case("program"),
        case("program-exec").compile(&["-fno-pie"]).link(&["-no-pie"]),
        case("program-lld").linker(Linker::Lld),
        case("program-mold").linker(Linker::Mold),
        case("library").compile(&["-DLINKED"]).part(library()),
        case("opened").compile(&["-DOPENED"]).opens().part(library().apart()),
    ]
}
