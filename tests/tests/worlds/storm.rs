//! Signal handlers that use thread-local storage while libc comes.

use crate::case::{Case, Part};

/// The reason not to run these cases with musl.
const MACHINES_OWN: &str = "a program that names no library gets the machine's own libc";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str| {
        Case::new(format!("storm/{name}"), "storm")
            .link(&["-rdynamic"])
            .part(Part::native("libnative").apart().link(&["-lpthread"]))
            .opens()
    };
    vec![
        // Twenty runs of each libc, whichever the loader, the time and the user.
        case("some").names_no_libc().times(5).gnu_alone(MACHINES_OWN),
        case("some-opened").flags(&["-DOPENS_ALONE"]).names_no_libc().times(5),
        case("some-with-libc").times(5),
        // 200 runs for each loader and time.
        case("two-hundred").names_no_libc().times(200).long().gnu_alone(MACHINES_OWN),
        case("two-hundred-opened").flags(&["-DOPENS_ALONE"]).names_no_libc().times(200).long(),
    ]
}
