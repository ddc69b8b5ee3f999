//! The other program that can run the program: this program has none.
#![forbid(unsafe_code)]

use rtld::error::Error;

use crate::run::process::Process;

/// Returns at once: there is no other program.
pub(crate) fn leave_to_other(_: &Process) -> Result<(), Error<'static>> {
    Ok(())
}
