//! One address for each function and datum: COPY relocations, canonical PLT entries, STB_GNU_UNIQUE.

use crate::case::{Agreement, CALLS, Case, Model, Object};
use crate::symbolic::Mark;

pub(crate) fn cases() -> Vec<Case> {
    [addresses(), unique()].into_iter().flatten().collect()
}

/// Programs of each model, with libraries that bind in each way.
fn addresses() -> Vec<Case> {
    let mut cases = Vec::new();
    for model in Model::ALL {
        for (name, compile, link) in CALLS {
            for first in ["owner", "other"] {
                let owner = Object::library("owner", "identity").compile("-DOWNER").with(compile, link);
                let other = Object::library("other", "identity").with(compile, link);
                let mut program = Object::program(model, "identity").with(compile, link);
                // Compilers choose a function's references by whether the program also calls it, or only takes its
                // address.
                program = match first {
                    "owner" => program.needs(["owner", "other"]),
                    _ => program.needs(["other", "owner"]).compile("-DCALLS"),
                };
                let name = format!("identity/{}-{name}-{first}-first", model.name());
                cases.push(Case::new(name, Agreement::All, vec![owner, other, program]));
            }
        }
    }
    cases
}

/// Two libraries with an object of the same name, unique in one or both.
fn unique() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kinds, one, two) in [("both", true, true), ("first", true, false), ("second", false, true)] {
        for (how, link, symbolic) in [
            ("plain", &[][..], None),
            ("bsymbolic", &["-Wl,-Bsymbolic"], None),
            ("dt-symbolic", &[], Some(Mark::Tag)),
        ] {
            for order in [["1", "2"], ["2", "1"]] {
                for looks in [None, Some(Model::PieIndirect), Some(Model::Pie), Some(Model::Exec)] {
                    // A COPY of an object that its library binds to itself: there are two objects then, under each
                    // loader.
                    if how != "plain" && matches!(looks, Some(Model::Pie | Model::Exec)) {
                        continue;
                    }
                    let library = |number: usize, unique: bool| {
                        let library = Object::library(number, "unique").compile(format!("-DWHO={number}"));
                        let flags: &[&str] = if unique { &["-DUNIQUE"] } else { &[] };
                        library.with(flags, link).symbolic(symbolic)
                    };
                    let mut program = Object::program(looks.unwrap_or(Model::Pie), "unique").needs(order);
                    program = if looks.is_some() { program.compile("-DLOOKS") } else { program };
                    let objects = vec![library(1, one), library(2, two), program];
                    let program = looks.map_or("unused", Model::name);
                    let name = format!("unique/{kinds}-{how}-{}-{program}", order.concat());
                    let agreement = if how == "plain" {
                        Agreement::All
                    } else {
                        Agreement::Glibc("musl knows neither DT_SYMBOLIC nor STB_GNU_UNIQUE")
                    };
                    cases.push(Case::new(name, agreement, objects));
                }
            }
        }
    }
    cases
}
