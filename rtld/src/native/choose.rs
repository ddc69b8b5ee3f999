//! Which libc to bring in: the one that the program's native libraries are built for.
#![forbid(unsafe_code)]

use libc_template::Libc;

use crate::addr::PageSize;
use crate::arena::{Arena, OutOfMemory};
use crate::error::Escaped;
use crate::load::map_object;
use crate::report::{Category, Trace};
use crate::resolve::needs_libc;
use crate::seam::AddressSpace;
use crate::search::{entries, expand, is_path};

/// Where native libraries are looked for to tell their libc.
#[derive(Clone, Copy, Debug)]
pub struct Places<'p> {
    /// LD_LIBRARY_PATH; none if `secure`.
    pub library_path: Option<&'p [u8]>,
    /// The program's DT_RUNPATH or DT_RPATH.
    pub runpath: Option<&'p [u8]>,
    /// Directory of the program.
    pub origin: Option<&'p [u8]>,
    /// AT_SECURE.
    pub secure: bool,
}

/// Tells which libc serves `libraries`; `None` if the machine has none.
///
/// Where there is one libc, it is that. Where there are both, the first library that LD_LIBRARY_PATH, the
/// program's DT_RUNPATH or its own slash leads to says by its DT_NEEDED; libraries in the system's own
/// directories are the concern of glibc, which such a machine calls its own.
pub fn choose<S: AddressSpace>(
    sys: &S,
    arena: &Arena,
    libraries: &[&[u8]],
    places: &Places<'_>,
    page: PageSize,
    trace: Trace,
) -> Result<Option<Libc>, OutOfMemory> {
    let present = |libc: Libc| sys.open(libc.interpreter().as_bytes()).is_ok();
    let [gnu, musl] = Libc::ALL.map(present);
    match (gnu, musl) {
        (true, true) => {}
        (true, false) => return Ok(Some(Libc::Gnu)),
        (false, true) => return Ok(Some(Libc::Musl)),
        (false, false) => return Ok(None),
    }
    let judge = |path: &[u8]| -> Option<Libc> {
        let (file, info) = sys.open(path).ok()?;
        // What can not be mapped is for libc's ld.so to complain about.
        let mapped = map_object(sys, &file, &info, page).ok()?;
        let libc = needs_libc(&mapped.image, &mapped.dynamic).ok()??;
        trace.line(Category::Libc, format_args!("{} is built for {}", Escaped(path), libc.name()));
        Some(libc)
    };
    let lists = [(places.library_path, true), (places.runpath, false)];
    for name in libraries.iter().filter(|name| Libc::named_by(name).is_none()) {
        if is_path(name) {
            if let Some(libc) = expand(arena, name, places.origin, places.secure)?.and_then(judge) {
                return Ok(Some(libc));
            }
            continue;
        }
        for (list, from_environment) in lists {
            for entry in list.into_iter().flat_map(|list| entries(list, from_environment)) {
                let Some(directory) = expand(arena, entry, places.origin, places.secure)? else { continue };
                if let Some(libc) = judge(arena.concat(&[directory, b"/", name])?) {
                    return Ok(Some(libc));
                }
            }
        }
    }
    Ok(Some(Libc::Gnu))
}
