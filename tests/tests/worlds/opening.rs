//! Native libraries that are opened by name, and libc by itself.

use crate::case::{Case, Part};

pub(crate) fn cases() -> Vec<Case> {
    let parts = |case: Case| {
        case.opens()
            .part(Part::native("libother").apart())
            .part(Part::native("libnative").apart().link(&["-l:libother.so"]))
            .part(Part::native("libbroken").apart())
    };
    vec![
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
