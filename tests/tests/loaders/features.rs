//! IFUNC, thread-local storage, DT_RELR, and missing definitions.

use crate::case::{Agreement, CALLS, Case, Model, Object};

pub(crate) fn cases() -> Vec<Case> {
    [ifunc(), tls(), relative(), missing()].into_iter().flatten().collect()
}

/// The reason not to compare IFUNC with musl.
pub(crate) const NO_IFUNC: &str = "musl has no IFUNC";
/// The reason not to compare DT_RELR with musl.
pub(crate) const NO_RELR: &str = "musl has DT_RELR only since 1.2.4";

fn ifunc() -> Vec<Case> {
    let mut cases = Vec::new();
    for model in Model::ALL {
        for (name, compile, link) in CALLS {
            let library = Object::library(1, "ifunc").with(compile, link);
            let program = Object::program(model, "ifunc").with(compile, link).needs([1]);
            let name = format!("ifunc/{}-{name}", model.name());
            cases.push(Case::new(name, Agreement::Glibc(NO_IFUNC), vec![library, program]));
        }
    }
    cases
}

/// Models of thread-local variables: names, and flags for the compiler.
pub(crate) const TLS: [(&str, &[&str]); 3] = [
    // The compiler then uses local-dynamic for static variables.
    ("general-dynamic", &["-ftls-model=global-dynamic"]),
    ("descriptors", &["-mtls-dialect=gnu2"]),
    ("initial-exec", &["-ftls-model=initial-exec"]),
];

fn tls() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, compile) in TLS {
        for model in Model::ALL {
            for order in [[1, 2], [2, 1]] {
                let objects = tls_objects(model, compile, order);
                let name = format!("tls/{name}-{}-{}{}", model.name(), order[0], order[1]);
                cases.push(Case::new(name, Agreement::All, objects));
            }
        }
    }
    cases
}

/// Two libraries with thread-local variables, one of them of the same name, and a program.
pub(crate) fn tls_objects(model: Model, compile: &[&str], order: [usize; 2]) -> Vec<Object> {
    let library =
        |number: usize| Object::library(number, "tls").compile(format!("-DWHO={number}")).with(compile, &[]);
    vec![library(1), library(2), Object::program(model, "tls").needs(order)]
}

/// The flag that makes a toolchain's linker emit DT_RELR.
pub(crate) const RELR: &str = "-Wl,-z,pack-relative-relocs";

fn relative() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, library, program) in
        [("none", false, false), ("library", true, false), ("program", false, true), ("both", true, true)]
    {
        let flags = |packed: bool| if packed { &[RELR][..] } else { &[] };
        let objects = vec![
            Object::library(1, "relative").with(&[], flags(library)),
            Object::program(Model::Pie, "relative").needs([1]).with(&[], flags(program)),
        ];
        let agreement = if library || program { Agreement::Glibc(NO_RELR) } else { Agreement::All };
        cases.push(Case::new(format!("relr/{name}"), agreement, objects));
    }
    cases
}

/// A definition that was there when program and library were linked is missing at run time.
fn missing() -> Vec<Case> {
    let provider = |has: usize| Object::library("provider", "missing").compile(format!("-DPROVIDER={has}"));
    let mut cases = Vec::new();
    for (what, flag) in [("function", "-DFUNCTION"), ("datum", "-DDATUM"), ("through-library", "-DNEITHER")] {
        for model in [Model::PieIndirect, Model::Exec] {
            // A COPY relocation without a definition is a warning for musl and an error for glibc.
            if what == "datum" && model == Model::Exec {
                continue;
            }
            let objects = vec![
                provider(1),
                Object::library("user", "missing").needs(["provider"]).compile(flag).link("-Wl,-z,now"),
                Object::program(model, "missing").needs(["user", "provider"]).compile(flag).link("-Wl,-z,now"),
                provider(0),
            ];
            let name = format!("missing/{what}-{}", model.name());
            cases.push(Case::new(name, Agreement::All, objects).refused());
        }
    }
    cases
}
