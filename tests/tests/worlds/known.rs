//! Cases in which the worlds are known to differ, with the reasons. Such a test fails once the worlds agree, so that it
//! is removed from this list. Every run prints the number of differences and the reasons.

/// Tests, and the differences that they show.
const DIFFERENCES: [(&str, &str); 6] = [
    ("exit/exit-in-library-constructor/musl", BEGUN),
    ("exit/exit-in-program-constructor/musl", BEGUN),
    ("exit/slul_exit-in-program-constructor/musl", BEGUN),
    ("binding/view-of-library/gnu", VIEW),
    ("both_ways/needed-by-native/gnu", TWICE),
    ("both_ways/needed-by-native/musl", TWICE),
];

const BEGUN: &str = "finalisers of an object whose constructor ends the process run, as under glibc, not musl";
const VIEW: &str = "libc's dlsym(RTLD_NEXT) does not know libraries without libc";
const TWICE: &str = "a library without libc that a native library needs is there twice";

/// The reason for which a test's worlds differ, if they are known to.
pub(crate) fn difference(test: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(known, _)| *known == test).map(|(_, why)| *why)
}

/// Prints the number of differences and the reasons.
pub(crate) fn print() {
    println!("known differences: {}", DIFFERENCES.len());
    for why in [BEGUN, VIEW, TWICE] {
        let count = DIFFERENCES.iter().filter(|(_, known)| *known == why).count();
        println!("  - {count}: {why}");
    }
}
