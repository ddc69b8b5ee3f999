//! Why `slul_dlopen` or one of its relatives does not do what it is asked for.
#![forbid(unsafe_code)]

use core::fmt;

use rtld::error::{Error, Escaped};

use crate::run::native::libc;
use crate::run::thread;

/// Why something is not done.
pub(crate) enum Refusal {
    Error(Error<'static>),
    /// The list is being shown to a callback of `dl_iterate_phdr`.
    Busy,
    /// Flags that make no sense.
    Mode(i32),
    /// A handle of nothing that is open.
    Handle(usize),
    /// Nobody of this world has the symbol; and whether native libraries may.
    Symbol(&'static [u8], bool),
    /// RTLD_NEXT from nowhere.
    NoCaller,
    /// libc's own message.
    Libc,
    /// The message is there already.
    Said,
}

impl From<Error<'static>> for Refusal {
    fn from(error: Error<'static>) -> Self {
        Self::Error(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Busy => f.write_str("not from a callback of dl_iterate_phdr"),
            Self::Mode(flags) => {
                let flags = u64::from(flags.cast_unsigned());
                write!(f, "invalid mode for slul_dlopen(): {flags:#x}")
            }
            Self::Handle(handle) => write!(f, "{handle:#x} is no handle of an object that is open"),
            Self::Symbol(name, _) => write!(f, "undefined symbol: {}", Escaped(name)),
            Self::Libc => Escaped(libc::error().unwrap_or(b"libc does not say why")).fmt(f),
            Self::Said => Ok(()),
            Self::NoCaller => f.write_str("RTLD_NEXT used in code that is in no object"),
        }
    }
}

impl Refusal {
    /// Keeps the text for `slul_dlerror`.
    pub(crate) fn tell(&self) {
        if !matches!(self, Self::Said) {
            thread::fail(format_args!("{self}"));
        }
    }
}

/// Keeps an error's text, before the object that it names can go.
pub(crate) fn said(error: Error<'static>) -> Refusal {
    thread::fail(format_args!("{error}"));
    Refusal::Said
}
