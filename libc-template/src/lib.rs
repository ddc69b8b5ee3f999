//! The loader's knowledge of the libcs that it brings in, as plain data.
//!
//! The *template* is the executable that the system's ld.so believes it is starting. The loader makes one in memory
//! for each program (`rtld::native::template`). This crate has the parts that are the same for all programs: the
//! template's imports for the loader's own use, and the names that may never pass between the two worlds. (Names of
//! libcs are in `abi::libcs`.) `executable` has the source of the installed file, by which debuggers recognise a
//! process with a brought-in libc.
#![no_std]
#![forbid(unsafe_code)]

/// This name in DT_NEEDED stands for the libc of the machine and of the other natives, glibc or musl.
pub const LIBC_SONAME: &[u8] = b"libc.so.6";

/// DT_NEEDED besides [`LIBC_SONAME`] for glibc before 2.34, which merged these libraries into it.
pub const SPLIT_GLIBC_SONAMES: [&[u8]; 2] = [b"libpthread.so.0", b"libdl.so.2"];

/// Version that glibc's ld.so defines since that merge.
pub const MERGED_GLIBC_VERSION: &[u8] = b"GLIBC_2.34";

/// The loader's own imports from libc: indices into [`LOADER_IMPORTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LoaderImport {
    /// Starts libc. Index 0: assembly knows only the address of the table.
    StartMain,
    /// exit(3).
    Exit,
    /// `__cxa_atexit` of the Itanium C++ ABI.
    CxaAtexit,
    /// The variable `__libc_stack_end`, the end of the main thread's stack; glibc alone has it.
    StackEnd,
    /// The variable that environ(7) is another name of. It is the only one that libcs themselves refer to, so a program
    /// that defines an `environ` of its own keeps that.
    Environ,
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
    /// pthread_key_create(3).
    KeyCreate,
    /// pthread_setspecific(3).
    SetSpecific,
}

/// Names of the [`LoaderImport`]s. All references are weak and without a version: any version serves.
pub const LOADER_IMPORTS: [&[u8]; 13] = [
    b"__libc_start_main",
    b"exit",
    b"__cxa_atexit",
    b"__libc_stack_end",
    b"__environ",
    b"dlopen",
    b"dlsym",
    b"dlvsym",
    b"dlclose",
    b"dlerror",
    b"dl_iterate_phdr",
    b"pthread_key_create",
    b"pthread_setspecific",
];

/// Whether a `NAME=value` string makes ld.so do more than start the program: print, or print and exit. The loader hides
/// such variables from ld.so until the program's libraries are bound.
#[must_use]
pub fn is_masked_variable(variable: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 3] = [b"LD_SHOW_AUXV=", b"LD_TRACE_LOADED_OBJECTS=", b"LD_TRACE_PRELINKING="];
    // `help` anywhere in the list ends the process (glibc, process_dl_debug).
    let help = variable
        .strip_prefix(b"LD_DEBUG=")
        .is_some_and(|list| list.split(|byte| matches!(byte, b',' | b':' | b' ')).any(|word| word == b"help"));
    help || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

/// Whether libc reads a `NAME=value` string when it starts, and no later: those for ld.so, and the settings of glibc
/// (ld.so(8), mallopt(3)). What a program makes of its environment does not change them.
#[must_use]
pub fn is_start_variable(variable: &[u8]) -> bool {
    START_VARIABLES.iter().any(|start| variable.starts_with(start))
}

/// Beginnings of the variables that libc reads when it starts.
pub const START_VARIABLES: [&[u8]; 3] = [b"LD_", b"MALLOC_", TUNABLES];

/// Beginning of the variable with settings for glibc's ld.so (ld.so(8)).
pub const TUNABLES: &[u8] = b"GLIBC_TUNABLES=";

/// Bytes in every thread for initial-exec thread-local storage of libraries that dlopen(3) loads. glibc's default since
/// 2.32 is 512, too little for OpenGL's drivers and for allocators. The bytes are a part of the threads' stacks: a
/// thread with a stack of PTHREAD_STACK_MIN, 16 KiB, still starts.
pub const STATIC_TLS_TUNABLE: &[u8] = b"glibc.rtld.optional_static_tls=4608";

/// Whether glibc's ld.so removes a `NAME=value` string from the environment of a set-id process (its
/// `UNSECURE_ENVVARS`). glibc closes the hole in envp and leaves auxv at its place, so that a scan past envp's NULL no
/// longer finds auxv. The loader therefore removes these variables before glibc can.
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
    // glibc before 2.34 also removes MALLOC_CHECK_ and others with that beginning.
    name.starts_with(b"LD_") || name.starts_with(b"MALLOC_") || NAMES.contains(&name)
}

/// Number of [`LOADER_IMPORTS`], from the first, that the template of every program has. The others are for programs
/// that open libraries, or that have some.
pub const START_IMPORTS: usize = 5;

/// Whether the template never exports a name, whichever object defines it: libc must use its own. The functions of
/// [`LOADER_IMPORTS`] are not exported either: the loader's lookups begin at the template, and would find the program's
/// definitions. Of the variable, libc itself uses a definition (or a copy) of the program's.
#[must_use]
pub fn is_never_exported(name: &[u8]) -> bool {
    let is_variable = LOADER_IMPORTS.get(LoaderImport::Environ as usize) == Some(&name);
    NEVER_EXPORTED.contains(&name) || LOADER_IMPORTS.contains(&name) && !is_variable
}

/// Names that libc must have of its own.
const NEVER_EXPORTED: [&[u8]; 9] = [
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
    use super::{is_masked_variable, is_never_exported, is_start_variable, is_unsecure_variable};

    #[test]
    fn names_of_the_loader() {
        for name in ["exit", "dlopen", "__libc_start_main", "memcpy", "_r_debug"] {
            assert!(is_never_exported(name.as_bytes()), "{name}");
        }
        for name in ["__environ", "environ", "malloc"] {
            assert!(!is_never_exported(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn variables_by_name() {
        for masked in ["LD_SHOW_AUXV=1", "LD_TRACE_LOADED_OBJECTS=", "LD_DEBUG=help", "LD_DEBUG=libs,help:x"] {
            assert!(is_masked_variable(masked.as_bytes()), "{masked}");
        }
        for plain in ["LD_DEBUG=files", "LD_DEBUG=helpful", "LD_BIND_NOW=1", "PATH=help"] {
            assert!(!is_masked_variable(plain.as_bytes()), "{plain}");
        }
        assert!(is_start_variable(b"LD_PRELOAD=x") && is_start_variable(b"GLIBC_TUNABLES="));
        assert!(is_start_variable(b"MALLOC_CHECK_=3") && !is_start_variable(b"TMPDIR=/x"));
        assert!(is_unsecure_variable(b"TMPDIR=/x") && is_unsecure_variable(b"LD_PRELOAD=x"));
        assert!(!is_unsecure_variable(b"PATH=/x") && !is_unsecure_variable(b"TMPDIRS=/x"));
    }
}
