//! Figures that repeat exactly: instructions, system calls, page faults.

pub(crate) mod callgrind;
pub(crate) mod faults;
pub(crate) mod trace;

/// A small environment. Sizes of the kernel's block and the loaders' work depend on it.
pub(crate) const ENVIRONMENT: [(&str, &str); 8] = [
    ("HOME", "/home/user"),
    ("LANG", "en_US.UTF-8"),
    ("LD_LIBRARY_PATH", "/opt/lib"),
    ("LOGNAME", "user"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("PWD", "/home/user"),
    ("SHELL", "/bin/sh"),
    ("TERM", "xterm-256color"),
];
