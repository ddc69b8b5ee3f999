//! Thread-local variables of both worlds.

use crate::case::{Case, Part};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let models: [(&str, &[&str]); 4] = [
        ("default", &[]),
        ("initial", &["-ftls-model=initial-exec"]),
        ("general", &["-ftls-model=global-dynamic", "-fPIC"]),
        ("descriptors", &["-ftls-model=global-dynamic", "-fPIC", "-mtls-dialect=gnu2"]),
    ];
    for (name, flags) in models {
        cases.push(case(&format!("{name}-64"), flags, &[]));
    }
    cases.push(case("align-256", &["-DALIGN=256"], &[]));
    cases.push(case("align-4096", &["-DALIGN=4096"], &[]));
    cases.push(case("big-native", &[], &["-DBIG", "-ftls-model=initial-exec"]));
    cases.push(case("big-native-256", &["-DALIGN=256"], &["-DBIG", "-ftls-model=initial-exec"]));
    cases.push(case("early-thread", &["-DEARLY"], &[]).link(&["-rdynamic"]));
    cases.push(Case::new("locals/small-stack", "small_stack"));
    cases.push(Case::new("locals/small-stack-opens", "small_stack").opens().compile(&["-DOPENS"]));
    for (name, size) in [("small", 64), ("large", 100 << 10)] {
        let native = Part::native("libnative").apart();
        let native = native.compile(&[&format!("-DSIZE={size}"), "-ftls-model=initial-exec"]);
        for (how, program) in [("", true), ("-with-libc", false)] {
            let case = Case::new(format!("locals/opened-{name}{how}"), "open_locals").opens().part(native.clone());
            cases.push(if program { case.names_no_libc() } else { case });
        }
    }
    cases
}

fn case(name: &str, flags: &[&str], native: &[&str]) -> Case {
    Case::new(format!("locals/{name}"), "locals")
        .flags(flags)
        .part(Part::library("libfree"))
        .part(Part::native("libnative").compile(native).link(&["-lpthread"]))
}
