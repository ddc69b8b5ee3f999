//! What the loader knows of the libcs that it brings in, as plain data.
//!
//! The *template* is the executable that the system's ld.so believes it is starting. It is synthesised in
//! memory for each program (`rtld::native::template`); here is what does not depend on the program: what the
//! template imports for the loader's own use, and what may never pass between the two worlds. (The libcs themselves, by
//! their names, are in `abi::libcs`.) `executable` has the source of the file that is installed, which tells debuggers
//! of it.
#![no_std]
#![forbid(unsafe_code)]

/// In DT_NEEDED it stands for whichever libc the machine and the other natives use.
pub const LIBC_SONAME: &[u8] = b"libc.so.6";

/// Needed besides [`LIBC_SONAME`] where glibc is older than 2.34, which merged them into it.
pub const SPLIT_GLIBC_SONAMES: [&[u8]; 2] = [b"libpthread.so.0", b"libdl.so.2"];

/// Version that glibc's ld.so defines since it was merged (2.34).
pub const MERGED_GLIBC_VERSION: &[u8] = b"GLIBC_2.34";

/// What the loader itself imports from libc, by its place in [`LOADER_IMPORTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LoaderImport {
    /// Starts libc; the first, for those who know only where the table begins.
    StartMain,
    /// exit(3).
    Exit,
    /// The Itanium C++ ABI's.
    CxaAtexit,
    /// dlopen(3).
    Dlopen,
    /// dlsym(3).
    Dlsym,
    /// dlvsym(3); glibc alone has it.
    Dlvsym,
    /// dlclose(3).
    Dlclose,
    /// dlerror(3).
    Dlerror,
    /// dl_iterate_phdr(3).
    DlIteratePhdr,
}

/// Their names. All are weak and unversioned: of each, any version serves.
pub const LOADER_IMPORTS: [&[u8]; 9] = [
    b"__libc_start_main",
    b"exit",
    b"__cxa_atexit",
    b"dlopen",
    b"dlsym",
    b"dlvsym",
    b"dlclose",
    b"dlerror",
    b"dl_iterate_phdr",
];

/// Whether a `NAME=value` string makes ld.so do something other than start the program. Such variables are masked
/// in the environment that it sees until the program's libraries are bound.
#[must_use]
pub fn is_masked_variable(variable: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 3] = [b"LD_SHOW_AUXV=", b"LD_TRACE_LOADED_OBJECTS=", b"LD_TRACE_PRELINKING="];
    // `help` anywhere in the list ends the process (glibc, process_dl_debug).
    let help = variable
        .strip_prefix(b"LD_DEBUG=")
        .is_some_and(|list| list.split(|byte| matches!(byte, b',' | b':' | b' ')).any(|word| word == b"help"));
    help || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

/// Begins the variable by which glibc's ld.so is told what else it might do.
pub const TUNABLES: &[u8] = b"GLIBC_TUNABLES=";

/// How much room there is to be for initial-exec thread-local storage of libraries that come by dlopen(3): in every
/// thread, in bytes. glibc, since 2.32, leaves 512 if it is not told otherwise, which is too little for OpenGL's drivers
/// and for allocators. It is taken from the stacks of threads: those that ask for PTHREAD_STACK_MIN, 16 KiB, still start.
pub const STATIC_TLS_TUNABLE: &[u8] = b"glibc.rtld.optional_static_tls=4608";

/// Whether glibc's ld.so removes a `NAME=value` string from the environment of a set-id process (its
/// `UNSECURE_ENVVARS`). It closes the hole and leaves auxv where it was, so that a scan past envp's NULL no longer
/// finds it; what is gone already it need not remove.
#[must_use]
pub fn is_unsecure_variable(variable: &[u8]) -> bool {
    const NAMES: [&[u8]; 13] = [
        b"GCONV_PATH",
        b"GETCONF_DIR",
        b"GLIBC_TUNABLES",
        b"HOSTALIASES",
        b"LOCALDOMAIN",
        b"LOCPATH",
        b"MALLOC_TRACE",
        b"NIS_PATH",
        b"NLSPATH",
        b"RESOLV_HOST_CONF",
        b"RES_OPTIONS",
        b"TMPDIR",
        b"TZDIR",
    ];
    let name = variable.split(|&byte| byte == b'=').next().unwrap_or_default();
    // MALLOC_CHECK_ and its like, in versions before 2.34.
    name.starts_with(b"LD_") || name.starts_with(b"MALLOC_") || NAMES.contains(&name)
}

/// How many of them, from the first, each process wants. The others are for one that opens libraries, or has some.
pub const START_IMPORTS: usize = 3;

/// Never offered to libc, whoever defines them: it has its own, and must use it. Besides these, what the loader
/// itself imports ([`LOADER_IMPORTS`]): lookups begin at the template, so it would find the program's.
pub const NEVER_EXPORTED: [&[u8]; 9] = [
    b"__tls_get_addr",
    b"dl_iterate_phdr",
    b"_r_debug",
    b"memcpy",
    b"memmove",
    b"memset",
    b"memcmp",
    b"bcmp",
    b"strlen",
];

#[cfg(test)]
mod tests {
    use super::{is_masked_variable, is_unsecure_variable};

    #[test]
    fn variables_by_name() {
        for masked in ["LD_SHOW_AUXV=1", "LD_TRACE_LOADED_OBJECTS=", "LD_DEBUG=help", "LD_DEBUG=libs,help:x"] {
            assert!(is_masked_variable(masked.as_bytes()), "{masked}");
        }
        for plain in ["LD_DEBUG=files", "LD_DEBUG=helpful", "LD_BIND_NOW=1", "PATH=help"] {
            assert!(!is_masked_variable(plain.as_bytes()), "{plain}");
        }
        assert!(is_unsecure_variable(b"TMPDIR=/x") && is_unsecure_variable(b"LD_PRELOAD=x"));
        assert!(!is_unsecure_variable(b"PATH=/x") && !is_unsecure_variable(b"TMPDIRS=/x"));
    }
}
