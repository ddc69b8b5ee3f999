//! Native libraries that are opened by name, and libc by itself.

use crate::case::{Case, Part};

pub(crate) fn cases() -> Vec<Case> {
    let parts = |case: Case| {
        case.opens()
            .part(Part::native("libother").apart())
            .part(Part::native("libnative").apart().link(&["-l:libother.so"]))
            .part(Part::native("libbroken").apart())
    };
    let waiting = |name: &str| {
        let parts = ["libplugin", "libaddress", "libdata", "libboth", "liblater"];
        let case = Case::new(format!("opening/waiting-{name}"), "waiting").opens().link(&["-rdynamic"]);
        let case = case.gnu_alone("musl binds at once, and has no IFUNC");
        parts.into_iter().fold(case, |case, name| case.part(Part::library(name).apart().link(&["-Wl,-z,lazy"])))
    };
    let closing = Case::new("opening/closing", "closing").opens().part(Part::native("libnative").apart());
    vec![
        closing
            .part(Part::library("liboutside").apart().link(&["-l:libnative.so", "-lc"]))
            .gnu_alone("musl unloads nothing"),
        waiting("lazily"),
        waiting("nobody").arg("nobody"),
        waiting("bound-now").env("LD_BIND_NOW", "1"),
        waiting("bound-zero").env("LD_BIND_NOW", "0"),
        waiting("bound-empty").env("LD_BIND_NOW", ""),
        parts(Case::new("opening/native", "opening")).names_no_libc(),
        parts(Case::new("opening/native-with-libc", "opening")),
        parts(Case::new("opening/native-exec", "opening"))
            .names_no_libc()
            .compile(&["-fno-pie"])
            .link(&["-no-pie"]),
        Case::new("opening/libc-alone", "load_libc")
            .opens()
            .names_no_libc()
            .gnu_alone("it is the machine's own libc"),
    ]
}
