//! The state of a library that was opened at run time, and the flags of an open.
#![forbid(unsafe_code)]

use core::cell::Cell;

use abi::export;

use crate::base::arena::{Arena, List, OutOfMemory};

/// A function that asks the system for the path of the current directory.
pub type CurrentDirectory<'a> = fn(&'a Arena) -> Result<Option<&'a [u8]>, OutOfMemory>;

/// The libraries that came with one open.
#[derive(Debug)]
pub struct Group<'a> {
    /// Memory of everything that is known of them.
    pub(crate) arena: &'a Arena,
    pub(crate) current: CurrentDirectory<'a>,
    /// Number of those that are not removed yet.
    pub(crate) live: Cell<usize>,
    /// libc's handles of the native libraries that they need.
    pub(crate) natives: Cell<&'a [usize]>,
}

/// Progress of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is being opened, which may fail.
    Loading,
    /// Initialisers of what came with it are running.
    Initialising,
    /// Its initialisers have run: it can be used and closed.
    Open,
    /// Its finalisers are running, or have run.
    Closing,
}

/// The state of a library that was opened at run time.
#[derive(Debug)]
pub struct Opened<'a> {
    pub(crate) group: &'a Group<'a>,
    /// Its directory, which `$ORIGIN` means: absolute, whatever path it was opened by, if the system told the current one.
    pub(crate) origin: &'a [u8],
    /// Number of opens of this library that were not closed yet.
    pub(crate) count: usize,
    /// Whether it stays loaded for good.
    pub(crate) pinned: bool,
    /// Number of the library with which it came. Its references are looked up in all the needs of that library.
    pub(crate) root: Option<usize>,
    /// RTLD_DEEPBIND: those needs come before the global scope.
    pub(crate) deep: bool,
    /// Numbers of the modules to which its words refer.
    pub(crate) uses: List<'a, usize>,
    /// Whether its unwind tables were registered with an unwinder.
    pub(crate) told: bool,
    pub(crate) stage: Stage,
    /// Whether its initialisers have begun, so that its finalisers must run.
    pub(crate) begun: bool,
}

impl<'a> Opened<'a> {
    pub(crate) const fn new(arena: &'a Arena, group: &'a Group<'a>, origin: &'a [u8]) -> Self {
        let uses = List::new(arena);
        Self {
            group,
            origin,
            count: 0,
            pinned: false,
            root: None,
            deep: false,
            told: false,
            uses,
            stage: Stage::Loading,
            begun: false,
        }
    }
}

/// The flags of `slul_dlopen`; the values are those of <dlfcn.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(i32);

impl Flags {
    pub(crate) const LAZY: i32 = export::RTLD_LAZY;
    const NOW: i32 = export::RTLD_NOW;
    pub(crate) const NOLOAD: i32 = export::RTLD_NOLOAD;
    pub(crate) const DEEPBIND: i32 = export::RTLD_DEEPBIND;
    pub(crate) const GLOBAL: i32 = export::RTLD_GLOBAL;
    pub(crate) const NODELETE: i32 = export::RTLD_NODELETE;

    /// Checks the flags. `None` if an unknown bit is set, or neither RTLD_LAZY nor RTLD_NOW.
    #[must_use]
    pub const fn new(bits: i32) -> Option<Self> {
        let known = Self::LAZY | Self::NOW | Self::NOLOAD | Self::DEEPBIND | Self::GLOBAL | Self::NODELETE;
        if bits & !known != 0 || bits & (Self::LAZY | Self::NOW) == 0 { None } else { Some(Self(bits)) }
    }

    /// Whether libraries that are not loaded yet are left alone (RTLD_NOLOAD).
    #[must_use]
    pub const fn only_known(self) -> bool {
        self.has(Self::NOLOAD)
    }

    pub(crate) const fn has(self, bit: i32) -> bool {
        self.0 & bit != 0
    }
}
