//! The choice of the libc to bring in.
#![forbid(unsafe_code)]

use rtld::error::Error;
use rtld::native::choose::Chosen;
use rtld::os::sys::File;

use crate::run::native::missing::Start;
use crate::run::process::Process;

/// The parts of the process's start that the choice, and the search for native libraries, depend on.
pub(crate) fn start_of(process: &Process) -> Start<'_> {
    let Process { arena, ref block, settings, ref kept, program_path, secure, page, trace, .. } = *process;
    Start { arena, block, settings, variables: kept.variables, program_path, secure, page, trace }
}

/// The libc that the program wants. Native libraries of the names `wanted` decide, if nothing else does.
pub(crate) fn choose_libc(
    process: &Process,
    search: Option<(u64, &[u8])>,
    wanted: &[&[u8]],
) -> Result<Chosen<File>, Error<'static>> {
    let objects = (&process.sealed.namespace, &process.sealed.natives);
    start_of(process).chosen(objects, search, wanted)
}
