//! How a library stands that was opened at run time, and how it is asked for.
#![forbid(unsafe_code)]

use core::cell::Cell;

use abi::export;

use crate::base::arena::{Arena, List};

/// The libraries that came with one `open`.
#[derive(Debug)]
pub struct Group<'a> {
    /// Where all that is known of them is.
    pub(crate) arena: &'a Arena,
    /// How many are left.
    pub(crate) live: Cell<usize>,
}

/// How far a library has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is being opened, or its initialisers run.
    Loading,
    /// It can be used, and closed.
    Open,
    /// Its finalisers run, or have run.
    Closing,
}

/// How a library stands that was opened at run time.
#[derive(Debug)]
pub struct Opened<'a> {
    pub(crate) group: &'a Group<'a>,
    /// How often it is open by itself.
    pub(crate) count: usize,
    /// Whether it stays for good.
    pub(crate) pinned: bool,
    /// The library that it came with: its references are looked up in all that one needs.
    pub(crate) root: Option<usize>,
    /// RTLD_DEEPBIND: its references are looked up there first.
    pub(crate) deep: bool,
    /// Modules that its words refer to.
    pub(crate) uses: List<'a, usize>,
    /// Whether an unwinder was told of it.
    pub(crate) told: bool,
    pub(crate) stage: Stage,
    /// Whether its initialisers have begun, so that its finalisers are to run.
    pub(crate) begun: bool,
}

impl<'a> Opened<'a> {
    pub(crate) const fn new(arena: &'a Arena, group: &'a Group<'a>) -> Self {
        let uses = List::new(arena);
        Self {
            group,
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

/// What `slul_dlopen` is asked for besides a name; the values are <dlfcn.h>'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(i32);

impl Flags {
    const LAZY: i32 = export::RTLD_LAZY;
    const NOW: i32 = export::RTLD_NOW;
    pub(crate) const NOLOAD: i32 = export::RTLD_NOLOAD;
    pub(crate) const DEEPBIND: i32 = export::RTLD_DEEPBIND;
    pub(crate) const GLOBAL: i32 = export::RTLD_GLOBAL;
    pub(crate) const NODELETE: i32 = export::RTLD_NODELETE;

    /// `None` if there are bits that mean nothing, or neither RTLD_LAZY nor RTLD_NOW.
    #[must_use]
    pub const fn new(bits: i32) -> Option<Self> {
        let known = Self::LAZY | Self::NOW | Self::NOLOAD | Self::DEEPBIND | Self::GLOBAL | Self::NODELETE;
        if bits & !known != 0 || bits & (Self::LAZY | Self::NOW) == 0 { None } else { Some(Self(bits)) }
    }

    /// Whether what is not loaded is to be left alone (RTLD_NOLOAD).
    #[must_use]
    pub const fn only_known(self) -> bool {
        self.has(Self::NOLOAD)
    }

    pub(crate) const fn has(self, bit: i32) -> bool {
        self.0 & bit != 0
    }
}
