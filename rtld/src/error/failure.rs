//! Errors, and their text of one line.
//!
//! A [`Problem`] is the cause, with its numbers: a plain value, without allocation or a borrow of an image. Names in it
//! are copies in the arena (`'a`). Results carry it as a [`Failure`] and, once the object that it is about is known, as
//! an [`Error`].
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Deref;

use crate::base::arena::OutOfMemory;
use crate::base::errno::OpenError;
use crate::base::text::{Of, Sink, Text, displayed};
use crate::error::problem::Problem;
use crate::error::record::Kept;
use crate::error::record::Record;

/// A problem, kept aside: one word.
#[derive(PartialEq, Eq)]
pub struct Failure<'a>(Kept<'a>);

/// A problem, and the object that it is about, kept aside: one word. Displays as `<object>: <problem>`.
#[derive(PartialEq, Eq)]
pub struct Error<'a>(Kept<'a>);

impl<'a> Failure<'a> {
    /// Adds the object.
    #[must_use]
    pub fn of(self, object: &'a [u8]) -> Error<'a> {
        let Self(mut kept) = self;
        kept.name(object);
        Error(kept)
    }
}

impl<'a> Error<'a> {
    /// The error of that problem in that object.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn new(object: &'a [u8], problem: Problem<'a>) -> Self {
        Self(Kept::new(Record { object, problem }))
    }
}

impl<'a> Deref for Failure<'a> {
    type Target = Problem<'a>;
    fn deref(&self) -> &Problem<'a> {
        &self.0.problem
    }
}

impl<'a> Deref for Error<'a> {
    type Target = Record<'a>;
    fn deref(&self) -> &Record<'a> {
        &self.0
    }
}

impl<'a> From<Problem<'a>> for Failure<'a> {
    #[cold]
    #[inline(never)]
    fn from(problem: Problem<'a>) -> Self {
        Self(Kept::new(Record { object: b"", problem }))
    }
}

impl From<OutOfMemory> for Failure<'_> {
    #[cold]
    #[inline(never)]
    fn from(error: OutOfMemory) -> Self {
        Problem::from(error).into()
    }
}

impl From<OpenError> for Failure<'_> {
    fn from(error: OpenError) -> Self {
        Problem::from(error).into()
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Debug for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Text for Failure<'_> {
    fn write(&self, to: &mut dyn Sink) {
        (**self).write(to);
    }
}

impl Text for Error<'_> {
    fn write(&self, to: &mut dyn Sink) {
        Of(self.object, &self.problem).write(to);
    }
}

displayed!(Failure<'_>, Error<'_>);

/// Adds the object to a problem.
pub trait OfObject<'a, T> {
    /// Adds the object to the problem, if there is one.
    ///
    /// # Errors
    /// The problem, with the object.
    fn of(self, object: &'a [u8]) -> Result<T, Error<'a>>;
}

impl<'a, T, P: Into<Failure<'a>>> OfObject<'a, T> for Result<T, P> {
    #[inline]
    fn of(self, object: &'a [u8]) -> Result<T, Error<'a>> {
        #[cold]
        #[inline(never)]
        fn blame<'a>(problem: impl Into<Failure<'a>>, object: &'a [u8]) -> Error<'a> {
            problem.into().of(object)
        }
        self.map_err(|problem| blame(problem, object))
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Problem};
    use crate::base::addr::Vaddr;
    use crate::error::{Errno, Table};
    use std::string::ToString;

    #[test]
    fn one_line_with_the_numbers() {
        let problem = Problem::OutsideImage { table: Table::Rela, vaddr: Vaddr(0x1f000) };
        let error = Error::new(b"libfoo.so", problem);
        assert_eq!(error.to_string(), "libfoo.so: DT_RELA outside the image at vaddr 0x1f000");
        let unknown = Problem::Relocation { r_type: 250, at: Vaddr(16) };
        assert_eq!(unknown.to_string(), "relocation type 250 at vaddr 0x10 is not supported");
        assert_eq!(Errno(99).to_string(), "errno 99");
    }
}
