//! The reasons why `slul_dlopen` or one of its relatives fails.
#![forbid(unsafe_code)]

use rtld::base::text::{Printable, Sink, Text};
use rtld::error::Error;
use rtld::put_words;

use crate::run::cpu::calls;
use crate::run::last_words::{REFUSED, say};
use crate::run::native::libc;
use crate::run::thread;

/// The reason of a failure.
pub(crate) enum Refusal {
    Error(Error<'static>),
    /// The call comes from a callback of `dl_iterate_phdr`, which is being shown the list.
    Busy,
    /// The list was being changed by another thread when this process was forked.
    Forked,
    /// Invalid flags.
    Mode(i32),
    /// A number that is not the handle of an open object.
    Handle(usize),
    /// A question to `slul_dlinfo` that it does not answer.
    Request(i32),
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

impl Text for Refusal {
    fn write(&self, to: &mut dyn Sink) {
        match *self {
            Self::Error(ref error) => error.write(to),
            Self::Busy => put_words!(to, "not from a callback of dl_iterate_phdr"),
            Self::Forked => put_words!(
                to,
                "another thread was opening or closing a library when this process was forked: use fork() of libc, which \
                 waits for that"
            ),
            Self::Mode(flags) => put_words!(to, "invalid mode for slul_dlopen(): {x}", flags.cast_unsigned()),
            Self::Handle(handle) => put_words!(to, "{x} is no handle of an object that is open", handle),
            Self::Request(request) => {
                put_words!(to, "slul_dlinfo has no answer to request {}", request.cast_unsigned())
            }
            Self::Symbol(name, _) => put_words!(to, "undefined symbol: {}", name),
            Self::Libc => Printable(libc::error().unwrap_or(b"libc does not say why")).write(to),
            Self::Said => {}
            Self::NoCaller => put_words!(to, "RTLD_NEXT used in code that is in no object"),
        }
    }
}

impl Refusal {
    /// Keeps the message for `slul_dlerror`.
    pub(crate) fn tell(&self) {
        if !matches!(self, Self::Said) {
            thread::fail(self);
        }
    }
}

impl Refusal {
    /// Says why a call can not be made, and ends the process.
    pub(crate) fn end(&self) -> ! {
        say(self);
        calls::exit_group(REFUSED)
    }
}

/// Keeps an error's message at once, before the object that it names can be unmapped.
pub(crate) fn said(error: Error<'static>) -> Refusal {
    thread::fail(&error);
    Refusal::Said
}
