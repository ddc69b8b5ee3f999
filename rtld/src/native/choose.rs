//! Which libc to bring in: the one that the program's native libraries are built for.
#![forbid(unsafe_code)]

use libc_template::Libc;

use crate::addr::PageSize;
use crate::arena::{Arena, OutOfMemory};
use crate::error::Escaped;
use crate::load::map_object;
use crate::report::{Category, Trace};
use crate::resolve::needs_libc;
use crate::seam::{AddressSpace, FileInfo};
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

/// A libc, and its ld.so, opened.
pub type Chosen<F> = (Libc, (F, FileInfo));

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
) -> Result<Option<Chosen<S::File>>, OutOfMemory> {
    let [gnu, musl] = Libc::ALL.map(|libc| sys.open(libc.interpreter().as_bytes()).ok());
    Ok(match (gnu, musl) {
        (Some(gnu), Some(musl)) => Some(match named(sys, arena, libraries, places, page, trace)? {
            Some(Libc::Musl) => (Libc::Musl, musl),
            Some(Libc::Gnu) | None => (Libc::Gnu, gnu),
        }),
        (Some(gnu), None) => Some((Libc::Gnu, gnu)),
        (None, Some(musl)) => Some((Libc::Musl, musl)),
        (None, None) => None,
    })
}

/// The libc that the first of `libraries` that can be found is built for.
fn named<S: AddressSpace>(
    sys: &S,
    arena: &Arena,
    libraries: &[&[u8]],
    places: &Places<'_>,
    page: PageSize,
    trace: Trace,
) -> Result<Option<Libc>, OutOfMemory> {
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
    Ok(None)
}
