//! Which libc to bring in: the one that the program's native libraries are built for.
#![forbid(unsafe_code)]

use libc_template::Libc;

use crate::addr::PageSize;
use crate::arena::Arena;
use crate::error::{Errno, Error, Escaped, OWN, OfObject, OpenError, Problem};
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
pub fn choose<'a, S: AddressSpace>(
    sys: &S,
    arena: &'a Arena,
    libraries: &[&[u8]],
    places: &Places<'_>,
    page: PageSize,
    trace: Trace,
) -> Result<Option<Chosen<S::File>>, Error<'a>> {
    // Only what is not there is not there: another failure would bring in the wrong libc.
    let open = |libc: Libc| match sys.open(libc.interpreter().as_bytes()) {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) if error.is_absence() => Ok(Err(error)),
        Err(error) => Err(error).of(libc.interpreter().as_bytes()),
    };
    let gnu = open(Libc::Gnu)?;
    let tells = |name: &&[u8]| is_path(name) || Libc::named_by(name) == Some(Libc::Musl);
    let is_told = places.library_path.is_some() || places.runpath.is_some() || libraries.iter().any(tells);
    let gnu = match gnu {
        // Nobody could say otherwise.
        Ok(gnu) if !is_told => return Ok(Some((Libc::Gnu, gnu))),
        gnu => gnu,
    };
    Ok(match (gnu, open(Libc::Musl)?) {
        (Ok(gnu), Ok(musl)) => Some(match named(sys, arena, libraries, places, page, trace)? {
            Some(Libc::Musl) => (Libc::Musl, musl),
            Some(Libc::Gnu) | None => (Libc::Gnu, gnu),
        }),
        (Ok(gnu), Err(_)) => Some((Libc::Gnu, gnu)),
        (Err(_), Ok(musl)) => Some((Libc::Musl, musl)),
        (Err(gnu), Err(musl)) => {
            // If there is one that may not be used, that is what is wrong.
            let forbidden = [(Libc::Gnu, gnu), (Libc::Musl, musl)]
                .into_iter()
                .find(|(_, error)| *error != OpenError::Errno(Errno::ENOENT));
            match forbidden {
                Some((libc, error)) => return Err(error).of(libc.interpreter().as_bytes()),
                None => None,
            }
        }
    })
}

/// The libc that the first of `libraries` that can be found is built for.
fn named<'a, S: AddressSpace>(
    sys: &S,
    arena: &'a Arena,
    libraries: &[&[u8]],
    places: &Places<'_>,
    page: PageSize,
    trace: Trace,
) -> Result<Option<Libc>, Error<'a>> {
    let judge = |path: &'a [u8]| -> Result<Option<Libc>, Error<'a>> {
        let (file, info) = match sys.open(path) {
            Ok(opened) => opened,
            Err(error) if error.is_absence() || error == OpenError::NotRegular => return Ok(None),
            Err(error) => return Err(error).of(path),
        };
        let mapped = match map_object(sys, &file, &info, page) {
            Ok(mapped) => mapped,
            // The kernel's failures are said. What is wrong with the file is for libc's ld.so to complain about.
            Err(failure) => match *failure {
                Problem::Map(_) | Problem::Read(_) => return Err(failure).of(path),
                _ => return Ok(None),
            },
        };
        let Ok(Some(libc)) = needs_libc(&mapped.image, &mapped.dynamic) else { return Ok(None) };
        trace.line(Category::Libc, format_args!("{} is built for {}", Escaped(path), libc.name()));
        Ok(Some(libc))
    };
    let lists = [(places.library_path, true), (places.runpath, false)];
    for name in libraries.iter().filter(|name| Libc::named_by(name).is_none()) {
        if is_path(name) {
            if let Some(path) = expand(arena, name, places.origin, places.secure).of(OWN)?
                && let Some(libc) = judge(path)?
            {
                return Ok(Some(libc));
            }
            continue;
        }
        for (list, from_environment) in lists {
            for entry in list.into_iter().flat_map(|list| entries(list, from_environment)) {
                let Some(directory) = expand(arena, entry, places.origin, places.secure).of(OWN)? else {
                    continue;
                };
                if let Some(libc) = judge(arena.concat(&[directory, b"/", name]).of(OWN)?)? {
                    return Ok(Some(libc));
                }
            }
        }
    }
    // A program that needs nothing but libc was linked with one of its own.
    let musl = libraries.iter().any(|name| Libc::named_by(name) == Some(Libc::Musl));
    Ok(musl.then_some(Libc::Musl))
}
