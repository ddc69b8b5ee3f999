//! Versions of symbols: the provider at run time differs from the one that its users were linked with.

use crate::case::{Agreement, Case, Model, Object};

/// Providers: name, compiler flags, and version script. In names `@@` is the default version, `@` a hidden one.
const PROVIDERS: [(&str, &[&str], Option<&str>); 7] = [
    ("plain", &["-DPLAIN"], None),
    ("v1", &["-DONE=\"@@\""], Some("V1 {};")),
    ("v1-hidden", &["-DONE=\"@\""], Some("V1 {};")),
    ("v2", &["-DTWO=\"@@\""], Some("V2 {};")),
    ("v1-v2", &["-DONE=\"@\"", "-DTWO=\"@@\""], Some("V1 {}; V2 {} V1;")),
    ("v1-default-v2", &["-DONE=\"@@\"", "-DTWO=\"@\""], Some("V1 {}; V2 {} V1;")),
    ("both-hidden", &["-DONE=\"@\"", "-DTWO=\"@\""], Some("V1 {}; V2 {} V1;")),
];

/// A user of the provider, and the provider that it was linked with.
#[derive(Clone, Copy)]
struct Linked {
    name: &'static str,
    /// Index into [`PROVIDERS`].
    provider: usize,
    /// Whether it asks for V1 by name.
    old: bool,
}

const UNVERSIONED: Linked = Linked { name: "unversioned", provider: 0, old: false };

const LINKED: [Linked; 4] = [
    UNVERSIONED,
    Linked { name: "v1", provider: 1, old: false },
    Linked { name: "v2", provider: 4, old: false },
    Linked { name: "old", provider: 4, old: true },
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for library in LINKED {
        for program in LINKED {
            // Each library with a program like itself, and with one without versions.
            if program.name != library.name && program.name != UNVERSIONED.name {
                continue;
            }
            for (at_run, (name, _, _)) in PROVIDERS.into_iter().enumerate() {
                let agreement = match agreement(library.name, name) {
                    Agreement::All => agreement(program.name, name),
                    other => other,
                };
                let name_of_case = format!("versions/{}-{}-from-{name}", library.name, program.name);
                let case = Case::new(name_of_case, agreement, objects(library, program, at_run));
                cases.push(if is_refused(library.name, name) { case.refused() } else { case });
            }
        }
    }
    cases
}

fn provider(index: usize) -> Object {
    let (_, compile, versions) = PROVIDERS.into_iter().nth(index).unwrap_or_default();
    let object = Object::library("provider", "versions").compile("-DPROVIDER").with(compile, &[]);
    match versions {
        Some(script) => object.versions(script),
        None => object,
    }
}

/// A library and a program, each linked with its provider, and the provider at run time.
fn objects(library: Linked, program: Linked, at_run: usize) -> Vec<Object> {
    let flags = |old: bool| if old { &["-DOLD"][..] } else { &[] };
    let user = Object::library("user", "versions").needs(["provider"]);
    let main = Object::program(Model::PieIndirect, "versions").needs(["user", "provider"]);
    vec![
        provider(library.provider),
        user.with(flags(library.old), &["-Wl,-z,now"]),
        provider(program.provider),
        main.with(flags(program.old), &["-Wl,-z,now"]),
        provider(at_run),
    ]
}

/// Whether glibc refuses it: the version of link time is missing.
fn is_refused(linked: &str, provider: &str) -> bool {
    match linked {
        "unversioned" => false,
        "v1" | "old" => provider == "v2",
        _ => matches!(provider, "v1" | "v1-hidden"),
    }
}

/// The loaders to agree with about a reference.
fn agreement(linked: &str, provider: &str) -> Agreement {
    if linked != "unversioned" && provider == "plain" {
        return Agreement::MuslAlone("glibc fails an assertion where a library has lost all its versions");
    }
    let default_is_right = match linked {
        "unversioned" => matches!(provider, "plain" | "v1" | "v2" | "v1-default-v2"),
        "v1" | "old" => matches!(provider, "v1" | "v1-default-v2"),
        _ => matches!(provider, "v2" | "v1-v2"),
    };
    if default_is_right {
        Agreement::All
    } else {
        Agreement::Glibc("musl takes the default version, whatever is asked for")
    }
}
