//! The choice of the libc to bring in.
#![forbid(unsafe_code)]

use abi::libcs::Libc;
use rtld::error::{Error, OfObject, Problem};
use rtld::native::choose::{Places, choose};
use rtld::os::seam::FileInfo;
use rtld::os::sys::{self, Linux};

use crate::run::process::Process;

/// The libc that the program wants. Native libraries of the names `wanted` decide, if nothing else does.
pub(crate) fn choose_libc(
    process: &Process,
    search: Option<(u64, &[u8])>,
    wanted: &[&[u8]],
) -> Result<(Libc, (sys::File, FileInfo)), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let library_path = process.settings.library_path;
    let natives = &process.sealed.natives;
    let expanded = natives.libraries.iter().chain(wanted).copied().chain(library_path);
    let places = Places {
        library_path,
        runpath: search.map(|(_, list)| list),
        origin: process.program_path.origin_for(process.arena, expanded).of(program)?,
        secure: process.secure,
    };
    choose(&Linux, process.arena, natives, wanted, &places, process.page, process.trace)?
        .ok_or(Problem::NoLibc)
        .of(program)
}
