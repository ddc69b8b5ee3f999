//! Optional native libraries of the start, and the lookup of single symbols in libc's world.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use rtld::base::arena::{Arena, List};
use rtld::base::report::Category;
use rtld::elf::consts;
use rtld::elf::plan::Protection;
use rtld::error::{Error, OWN, OfObject, Problem};
use rtld::native::needs::Import;
use rtld::words;

use crate::run::native::libc::{RTLD_DEFAULT, RTLD_GLOBAL, RTLD_NOW};
use crate::run::native::{binding, libc};
use crate::run::process::Process;

/// Opens the optional native libraries of the start, and binds weak references to their symbols. Called before the
/// addresses are published. Without memory for it, the libraries count as missing.
pub(crate) fn open_optional(process: &'static Process) {
    let natives = &process.sealed.natives;
    let arena = process.arena;
    let mut handles = List::new(arena);
    for name in natives.libraries.iter().filter(|name| natives.is_optional(name)) {
        let Ok(name_in_c) = in_c(arena, name) else { return };
        match libc::open(name_in_c.as_ptr(), RTLD_NOW | RTLD_GLOBAL) {
            0 => {
                let why = libc::error().unwrap_or_default();
                process.trace.line(Category::Libc, words!("{} is left out: {}", *name, why));
            }
            handle if handles.push(handle).is_err() => return,
            _ => {}
        }
    }
    if handles.is_empty() {
        return;
    }
    let unsealed = binding::protect_slots(process, false, Protection::READ_WRITE);
    for (number, import) in (0u32..).zip(natives.imports.iter()) {
        if unsealed.is_ok()
            && !import.strong
            && import.st_type != consts::STT_TLS
            && !binding::is_defined(process, number, import)
            && let Ok(address @ 1..) = look_up(arena, &handles, import)
        {
            binding::supply(process, number, address);
        }
    }
    binding::seal_again(process, false);
}

/// `text` as a C string in the arena.
pub(crate) fn in_c(arena: &'static Arena, text: &[u8]) -> Result<&'static CStr, Error<'static>> {
    let text = arena.concat(&[text, b"\0"]).of(OWN)?;
    CStr::from_bytes_until_nul(text).map_err(|_| Problem::NotLibrary).of(OWN)
}

/// Address of a symbol; 0 if it is not found.
pub(crate) fn look_up(
    arena: &'static Arena,
    handles: &[usize],
    import: &Import<'static>,
) -> Result<usize, Error<'static>> {
    let name = in_c(arena, import.name)?;
    let version = match import.version {
        Some(version) => Some(in_c(arena, version.version)?),
        None => None,
    };
    let places = [RTLD_DEFAULT].into_iter().chain(handles.iter().copied());
    let found = places.map(|handle| libc::symbol(handle, name.as_ptr(), version)).find(|&address| address != 0);
    if found.is_none() {
        // Clear the error, so that it is not reported for another call.
        let _ = libc::error();
    }
    Ok(found.unwrap_or(0))
}
