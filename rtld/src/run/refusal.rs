//! The reasons why `slul_dlopen` or one of its relatives fails.
#![forbid(unsafe_code)]

use core::fmt;

use rtld::error::{Error, Escaped};

use crate::run::native::libc;
use crate::run::thread;

/// The reason of a failure.
pub(crate) enum Refusal {
    Error(Error<'static>),
    /// The call comes from a callback of `dl_iterate_phdr`, which is being shown the list.
    Busy,
    /// Invalid flags.
    Mode(i32),
    /// A number that is not the handle of an open object.
    Handle(usize),
    /// A symbol that no object of this world defines; with whether native libraries are to be asked.
    Symbol(&'static [u8], bool),
    /// RTLD_NEXT, from code that is in no object.
    NoCaller,
    /// A failure of libc, whose dlerror(3) has the message.
    Libc,
    /// A failure whose message is kept already.
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
    /// Keeps the message for `slul_dlerror`.
    pub(crate) fn tell(&self) {
        if !matches!(self, Self::Said) {
            thread::fail(format_args!("{self}"));
        }
    }
}

/// Keeps an error's message at once, before the object that it names can be unmapped.
pub(crate) fn said(error: Error<'static>) -> Refusal {
    thread::fail(format_args!("{error}"));
    Refusal::Said
}
