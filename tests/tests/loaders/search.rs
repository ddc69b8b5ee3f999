//! The directory of a library: by DT_RPATH, LD_LIBRARY_PATH and DT_RUNPATH, of the program and of the needing library.

use crate::case::{Agreement, Case, Model, Object, RunPath, library_file};

/// The reason not to compare with musl.
const OTHER_ORDER: &str = "musl looks in LD_LIBRARY_PATH first, and takes DT_RUNPATH for DT_RPATH";

/// The kind of an object's search path.
type Kind = fn(&'static str) -> RunPath;

pub(crate) fn cases() -> Vec<Case> {
    let kinds: [(&str, Kind); 3] =
        [("none", |_| RunPath::None), ("rpath", RunPath::Rpath), ("runpath", RunPath::Runpath)];
    let mut cases = Vec::new();
    for (of_program, program) in kinds {
        for (of_library, library) in kinds {
            for variable in [false, true] {
                // A library that is not found is no case: slulrtld leaves its name to the system's libc.
                let inherits = variable || of_program == "rpath" || of_library != "none";
                if (of_program == "none" && !variable) || !inherits {
                    continue;
                }
                let named = if variable { "-variable" } else { "" };
                let name = format!("search/program-{of_program}-library-{of_library}{named}");
                let objects = objects(program("$ORIGIN/1"), library("$ORIGIN/../3"));
                let mut case = Case::new(name, Agreement::Glibc(OTHER_ORDER), objects);
                if variable {
                    case.env.push(("LD_LIBRARY_PATH".to_owned(), "{dir}/2".to_owned()));
                }
                cases.push(case);
            }
        }
    }
    cases
}

/// The program has directory 1 as its search path, the library that it needs 3. That library is in 1 and 2, its own
/// need is in all three.
fn objects(of_program: RunPath, of_library: RunPath) -> Vec<Object> {
    let which = |number: usize| Object::library("which", "search").compile(format!("-DWHO={number}"));
    let through = || Object::library("through", "search").needs(["which"]).run_path(of_library);
    let program = Object::program(Model::PieIndirect, "search").needs(["through"]).run_path(of_program);
    let mut objects = vec![which(0), through(), program];
    objects.extend((1..=3).map(|number| which(number).inside(number)));
    objects.extend((1..=2).map(|number| through().inside(number)));
    objects.extend(["which", "through"].map(|name| Object::removal(&library_file(name))));
    objects
}
