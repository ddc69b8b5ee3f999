//! The chosen definition: by order of libraries, strong and weak, visibility, symbolic binding, weak references.

use crate::case::{Agreement, CALLS, Case, Model, ORDERS, Object, word};
use crate::symbolic::Mark;

pub(crate) fn cases() -> Vec<Case> {
    [first(), own(), hash(), visibility(), weak()].into_iter().flatten().collect()
}

/// A library of `scope.c`.
fn definer(number: usize, weak: bool) -> Object {
    let library = Object::library(number, "scope").compile(format!("-DWHO={number}"));
    if weak { library.compile("-DWEAK") } else { library }
}

/// Three libraries with the same names, in every order, each definition strong or weak.
fn first() -> Vec<Case> {
    let mut cases = Vec::new();
    for order in ORDERS {
        for weak in 0..8 {
            let is_weak = |number: &usize| weak >> (number - 1) & 1 == 1;
            let strengths: String = order.iter().map(|number| if is_weak(number) { 'w' } else { 's' }).collect();
            let mut objects: Vec<_> = order.iter().map(|number| definer(*number, is_weak(number))).collect();
            objects.push(Object::program(Model::Pie, "scope").needs(order));
            cases.push(Case::new(format!("scope/{}-{strengths}", word(&order)), Agreement::All, objects));
        }
    }
    cases
}

/// The program defines the names as well, and comes first, weak or not.
fn own() -> Vec<Case> {
    let mut cases = Vec::new();
    for model in Model::ALL {
        for weak in [false, true] {
            for export in [false, true] {
                let mut objects: Vec<_> = (1..=3).map(|number| definer(number, false)).collect();
                let mut program = Object::program(model, "scope").compile("-DWHO=9").needs(1..=3);
                program = if weak { program.compile("-DWEAK") } else { program };
                program = if export { program.link("-Wl,--export-dynamic") } else { program };
                objects.push(program);
                let strength = if weak { "weak" } else { "strong" };
                let exported = if export { "-exported" } else { "" };
                let name = format!("scope/own-{}-{strength}{exported}", model.name());
                cases.push(Case::new(name, Agreement::All, objects));
            }
        }
    }
    cases
}

/// Libraries with either hash table, or both.
fn hash() -> Vec<Case> {
    const STYLES: [&str; 3] = ["gnu", "sysv", "both"];
    let mut cases = Vec::new();
    for one in STYLES {
        for two in STYLES {
            for three in STYLES {
                let library = |number: usize, style: &str| {
                    definer(number, number == 1).link(format!("-Wl,--hash-style={style}"))
                };
                let mut objects = vec![library(1, one), library(2, two), library(3, three)];
                objects.push(Object::program(Model::Pie, "scope").needs([3, 1, 2]));
                cases.push(Case::new(format!("scope/hash-{one}-{two}-{three}"), Agreement::All, objects));
            }
        }
    }
    cases
}

/// Visibility of a library's own definitions, and means by which it prefers them.
const VISIBILITIES: [(&str, &str, &[&str], Option<Mark>); 8] = [
    ("default", "default", &[], None),
    ("protected", "protected", &[], None),
    ("hidden", "hidden", &[], None),
    ("internal", "internal", &[], None),
    ("bsymbolic", "default", &["-Wl,-Bsymbolic"], None),
    ("bsymbolic-functions", "default", &["-Wl,-Bsymbolic-functions"], None),
    ("dt-symbolic", "default", &[], Some(Mark::Tag)),
    ("df-symbolic", "default", &[], Some(Mark::Flag)),
];

/// A library with definitions of each visibility, and another object with the same names.
fn visibility() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, attribute, link, symbolic) in VISIBILITIES {
        for (calls, call_compile, call_link) in CALLS.into_iter().filter(|(name, _, _)| *name != "now") {
            for other in ["nobody", "before", "after", "program"] {
                let mut owner = Object::library("owner", "visibility").compile("-DOWNER");
                owner = owner.compile(format!("-DVISIBILITY=__attribute__((visibility(\"{attribute}\")))"));
                owner = owner.with(call_compile, link).with(&[], call_link);
                let mut objects = vec![owner.symbolic(symbolic)];
                let mut program = Object::program(Model::PieIndirect, "visibility").with(call_compile, call_link);
                if matches!(other, "before" | "after") {
                    objects.push(Object::library("other", "visibility").compile("-DOTHER"));
                }
                program = match other {
                    "before" => program.needs(["other", "owner"]).compile("-DLOOKS"),
                    "after" => program.needs(["owner", "other"]).compile("-DLOOKS"),
                    "program" => program.needs(["owner"]).compile("-DOTHER").compile("-DLOOKS"),
                    _ => program.needs(["owner"]),
                };
                objects.push(program);
                let musl_differs = symbolic.is_some() && matches!(other, "before" | "program");
                let agreement = if musl_differs {
                    Agreement::Glibc("musl does not look at DT_SYMBOLIC and DF_SYMBOLIC")
                } else {
                    Agreement::All
                };
                cases.push(Case::new(format!("visibility/{name}-{calls}-{other}"), agreement, objects));
            }
        }
    }
    cases
}

/// Weak references of program and library: never defined, defined by a library, or defined only when they were linked.
fn weak() -> Vec<Case> {
    let provider = |kind: usize| Object::library("provider", "weak").compile(format!("-DPROVIDER={kind}"));
    let mut cases = Vec::new();
    for model in Model::ALL {
        for (name, linked, run) in
            [("none", 0, 0), ("strong", 1, 1), ("weak", 2, 2), ("gone", 1, 0), ("new", 0, 1)]
        {
            // COPY relocations and canonical PLT entries without a definition: each loader ends such a program
            // differently.
            if name == "gone" && model != Model::PieIndirect {
                continue;
            }
            let objects = vec![
                provider(linked),
                Object::library("asker", "weak").compile("-DASKER"),
                Object::program(model, "weak").needs(["asker", "provider"]),
                provider(run),
            ];
            cases.push(Case::new(format!("weak/{name}-{}", model.name()), Agreement::All, objects));
        }
    }
    cases
}
