//! Native data and thread-local variables: by every code model, linked by every linker.

use crate::case::{Case, Linker, Part};

/// Code models: their name, flags for compiler and linker, and a relocation that the program has by them.
const MODELS: [(&str, &[&str], &[&str], &str); 4] = [
    ("got", &["-fPIE", "-mno-direct-extern-access"], &["-pie"], "R_X86_64_GLOB_DAT"),
    ("no-plt", &["-fPIE", "-mno-direct-extern-access", "-fno-plt"], &["-pie", "-Wl,-z,now"], "R_X86_64_GLOB_DAT"),
    ("copy-pie", &["-fPIE", "-mdirect-extern-access"], &["-pie"], "R_X86_64_COPY"),
    ("copy-exec", &["-fno-pie"], &["-no-pie"], "R_X86_64_COPY"),
];

/// Dialects of the thread-local variables of the library without libc.
const DIALECTS: [(&str, &[&str], &str); 2] = [
    ("", &["-ftls-model=global-dynamic"], "R_X86_64_DTPMOD64"),
    ("-descriptors", &["-ftls-model=global-dynamic", "-mtls-dialect=gnu2"], "R_X86_64_TLSDESC"),
];

/// A variable of the program's own, first in its environment: eager mode is requested by a variable, which the ordinary
/// executable has not.
const ENVIRONMENT: (&str, &str) = ("A", "first");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (model, compile, link, relocation) in MODELS {
        for linker in Linker::ALL {
            for (dialect, flags, of_library) in DIALECTS {
                if !dialect.is_empty() && linker != Linker::Bfd {
                    continue;
                }
                let case = Case::new(format!("data/{model}-{}{dialect}", linker.name()), "data")
                    .linker(linker)
                    .compile(compile)
                    .link(link)
                    .env(ENVIRONMENT.0, ENVIRONMENT.1)
                    .part(Part::library("libfree").compile(flags))
                    .part(Part::native("libnative"))
                    .has("program-for-slulrtld", relocation)
                    .has("libfree.so", of_library);
                cases.push(["-a", "-b", "value", "rest"].into_iter().fold(case, Case::arg));
            }
        }
    }
    cases
}
