//! Cases in which the worlds are known to differ, and why. Such a test fails once they agree, so that it is taken out of
//! this list; how many there are, and why, is said at the end of every run.

/// Test, and what it shows.
const DIFFERENCES: [(&str, &str); 8] = [
    ("exit/exit-in-library-constructor/musl", BEGUN),
    ("exit/exit-in-program-constructor/musl", BEGUN),
    ("exit/slul_exit-in-program-constructor/musl", BEGUN),
    ("exit/in-constructor-of-opened-library/musl", BEGUN),
    ("binding/view-of-library/gnu", VIEW),
    ("binding/view-of-library/musl", VIEW),
    ("both_ways/needed-by-native/gnu", TWICE),
    ("both_ways/needed-by-native/musl", TWICE),
];

const BEGUN: &str = "finalisers of an object whose constructor ends the process run, as under glibc, not musl";
const VIEW: &str = "libc's dladdr, dlsym(RTLD_NEXT) and dl_iterate_phdr do not know libraries without libc";
const TWICE: &str = "a library without libc that a native library needs is there twice";

/// Why a test's worlds are known to differ.
pub(crate) fn difference(test: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(known, _)| *known == test).map(|(_, why)| *why)
}

/// Says how many there are, and why.
pub(crate) fn print() {
    println!("known differences: {}", DIFFERENCES.len());
    for why in [BEGUN, VIEW, TWICE] {
        let count = DIFFERENCES.iter().filter(|(_, known)| *known == why).count();
        println!("  - {count}: {why}");
    }
}
