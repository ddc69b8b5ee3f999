//! What the loader exports, with the C type of each. The loader's version script is made of this table, and the audit
//! holds the built loader, and a test `slul.h`, against it.

use core::fmt;

use crate::notice::FRAME;

/// The version node of every export.
pub const VERSION: &str = "SLUL_1.0";

/// Where C programs find a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// In `slul.h`.
    Slul,
    /// In a header of libc's, which a program without libc does as well without: compilers call these functions unasked,
    /// and know their types.
    Header(&'static str),
    /// Nowhere: compilers call it, or nobody does.
    Nowhere,
}

/// An exported name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// The symbol's name.
    pub name: &'static str,
    /// Type of its address, as C writes it.
    pub address: &'static str,
    /// Where it is declared.
    pub declared: Declared,
}

impl Export {
    const fn new(name: &'static str, address: &'static str, declared: Declared) -> Self {
        Self { name, address, declared }
    }
}

use Declared::{Header, Nowhere, Slul};

/// All exports, sorted by name.
pub static ALL: [Export; 23] = [
    Export::new(FRAME, "void (*)(void)", Nowhere),
    Export::new("__stack_chk_fail", "void (*)(void)", Nowhere),
    // Of a pointer to two words, module and offset (the psABIs' tls_index).
    Export::new("__tls_get_addr", "void *(*)(void *)", Nowhere),
    Export::new("_dl_debug_state", "void (*)(void)", Nowhere),
    Export::new("_r_debug", "struct r_debug *", Header("link.h")),
    Export::new("bcmp", "int (*)(const void *, const void *, size_t)", Header("strings.h")),
    Export::new(
        "dl_iterate_phdr",
        "int (*)(int (*)(struct dl_phdr_info *, size_t, void *), void *)",
        Header("link.h"),
    ),
    Export::new("memcmp", "int (*)(const void *, const void *, size_t)", Header("string.h")),
    Export::new("memcpy", "void *(*)(void *, const void *, size_t)", Header("string.h")),
    Export::new("memmove", "void *(*)(void *, const void *, size_t)", Header("string.h")),
    Export::new("memset", "void *(*)(void *, int, size_t)", Header("string.h")),
    Export::new("slul_dladdr", "int (*)(const void *, struct slul_dl_info *)", Slul),
    Export::new("slul_dlclose", "int (*)(void *)", Slul),
    Export::new("slul_dlerror", "const char *(*)(void)", Slul),
    Export::new("slul_dlinfo", "int (*)(void *, int, void *)", Slul),
    Export::new("slul_dlopen", "void *(*)(const char *, int)", Slul),
    Export::new("slul_dlsym", "void *(*)(void *, const char *)", Slul),
    Export::new("slul_dlvsym", "void *(*)(void *, const char *, const char *)", Slul),
    Export::new("slul_exit", "void (*)(int)", Slul),
    Export::new("slul_getauxval", "unsigned long (*)(unsigned long)", Slul),
    Export::new("slul_libc_state", "int (*)(void)", Slul),
    Export::new("slul_load_libc", "int (*)(void)", Slul),
    Export::new("strlen", "size_t (*)(const char *)", Header("string.h")),
];

/// Whether compilers call that function by themselves. Who is linked with a libc refers to it with a version of libc's, which has
/// no effect: the loader's serves, so that a copied structure or a canary does not bring libc in.
#[must_use]
pub const fn is_of_compilers(name: &[u8]) -> bool {
    matches!(name, b"__stack_chk_fail" | b"bcmp" | b"memcmp" | b"memcpy" | b"memmove" | b"memset" | b"strlen")
}

/// The linker's version script that exports these names and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct VersionScript;

impl fmt::Display for VersionScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION} {{\n    global:")?;
        ALL.iter().try_for_each(|export| writeln!(f, "        {};", export.name))?;
        f.write_str("    local:\n        *;\n};\n")
    }
}

/// What `slul_libc_state` answers: there is no libc.
pub const LIBC_ABSENT: i32 = 0;

/// libc is being brought in.
pub const LIBC_LOADING: i32 = 1;

/// libc is there.
pub const LIBC_PRESENT: i32 = 2;

/// `slul_dlopen` binds functions when they are called. All these are <dlfcn.h>'s, with their values on Linux.
pub const RTLD_LAZY: i32 = 1;

/// `slul_dlopen` binds all at once.
pub const RTLD_NOW: i32 = 2;

/// `slul_dlopen` opens only what is there already.
pub const RTLD_NOLOAD: i32 = 4;

/// References of what is opened are looked up there first.
pub const RTLD_DEEPBIND: i32 = 8;

/// Definitions of what is opened are for everybody.
pub const RTLD_GLOBAL: i32 = 0x100;

/// Definitions of what is opened are for what came with it.
pub const RTLD_LOCAL: i32 = 0;

/// What is opened stays mapped when it is closed.
pub const RTLD_NODELETE: i32 = 0x1000;

/// `slul_dlsym` looks in the caller's scope.
pub const RTLD_DEFAULT: isize = 0;

/// `slul_dlsym` looks in the caller's scope, behind the caller.
pub const RTLD_NEXT: isize = -1;

/// `slul_dlinfo` tells the namespace, which is always the first, 0: a `long`. These are <dlfcn.h>'s, too.
pub const RTLD_DI_LMID: i32 = 1;

/// `slul_dlinfo` tells the `struct link_map`.
pub const RTLD_DI_LINKMAP: i32 = 2;

/// `slul_dlinfo` tells what `$ORIGIN` stands for: a text.
pub const RTLD_DI_ORIGIN: i32 = 6;

/// `slul_dlinfo` tells the number for `__tls_get_addr`, 0 without thread-local storage: a `size_t`.
pub const RTLD_DI_TLS_MODID: i32 = 9;

/// `slul_dlinfo` tells the calling thread's block of thread-local storage, or NULL if it has none yet.
pub const RTLD_DI_TLS_DATA: i32 = 10;

/// `slul_dlinfo` tells the program headers, and returns how many.
pub const RTLD_DI_PHDR: i32 = 11;

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_sorted_and_there_once() {
        assert!(ALL.is_sorted_by(|one, other| one.name < other.name));
    }
}
