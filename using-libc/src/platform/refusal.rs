//! The end of a process whose native needs can not be met.
#![forbid(unsafe_code)]

use rtld::base::text::{Of, Printable, Text};

use crate::run::cpu::calls::exit_group;
use crate::run::last_words::{REFUSED, say};
use crate::run::native::libc;

/// Reports the reason and ends the process.
pub(crate) fn refuse(object: &[u8], what: &dyn Text) -> ! {
    say(&Of(object, what));
    exit_group(REFUSED)
}

/// Reports libc's own message and ends the process.
pub(crate) fn refuse_as_libc(object: &[u8]) -> ! {
    refuse(object, &Printable(libc::error().unwrap_or(b"libc does not say why")))
}
