//! libc cannot be brought in.

use crate::case::{Case, Part, Reference};

const WHY: &str = "an ordinary executable has its libc before it can put anything in the way";

/// Output of a program that continues, and gets libc later.
const RECOVERS: &str = "before\nload -1\nload -1\nopen 0\nsaid 1\nload 0\nanswer 17\n";

/// Output of a program that continues without libc.
const STAYS: &str = "before\nload -1\nload -1\nopen 0\nsaid 1\n";

/// Output of a program with a native call, which ends it.
const ENDS: &str = "before\n";

/// Obstacles: name, macro, output of a program that asks for libc, and its status.
const OBSTACLES: [(&str, &str, &str, i32); 6] = [
    ("chroot", "-DCHROOT", RECOVERS, 17),
    ("memory", "-DMEMORY", RECOVERS, 17),
    ("descriptors", "-DDESCRIPTORS", RECOVERS, 17),
    ("no-open", "-DNO_OPEN", STAYS, 17),
    ("no-code", "-DNO_CODE", STAYS, 17),
    ("no-thread-pointer", "-DNO_THREAD_POINTER", STAYS, 17),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, flag, says, status) in OBSTACLES {
        let asked = Case::new(format!("absent/{name}-asked"), "absent")
            .compile(&[flag])
            .part(Part::native("libnative").apart())
            .opens()
            .arg("{dir}");
        let asked = asked.lazily_alone().names_no_libc().reference(Reference::Says(says, status, WHY));
        cases.push(asked.gnu_alone("a program that names no library gets the machine's own libc"));
        // The first member of a native library is called.
        let called = Case::new(format!("absent/{name}-called"), "absent").compile(&[flag, "-DIMPLICIT"]);
        cases.push(called.arg("{dir}").lazily_alone().reference(Reference::Says(ENDS, 127, WHY)));
    }
    cases
}
