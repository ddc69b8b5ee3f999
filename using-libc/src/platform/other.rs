//! Another program that does the loader's work: there is none.
#![forbid(unsafe_code)]

use rtld::error::Error;

use crate::run::process::Process;

/// There is nobody to leave it to.
pub(crate) fn leave_to_other(_: &Process) -> Result<(), Error<'static>> {
    Ok(())
}
