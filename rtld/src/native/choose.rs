//! The choice of the libc to bring in: the one for which the program's native libraries are built.
#![forbid(unsafe_code)]

use abi::libcs::Libc;

use crate::base::addr::PageSize;
use crate::base::arena::Arena;
use crate::base::report::{Category, Trace};
use crate::error::{Errno, Error, OWN, OfObject, OpenError, Problem};
use crate::link::peek::libc_of;
use crate::link::search::{PathRoom, entries, is_path};
use crate::native::needs::NativeNeeds;
use crate::os::seam::{AddressSpace, FileInfo};
use crate::words;

/// The places in which native libraries are searched for, to tell their libc.
#[derive(Clone, Copy, Debug)]
pub struct Places<'p> {
    /// LD_LIBRARY_PATH, as ld.so will see it; `None` if `secure`.
    pub library_path: Option<&'p [u8]>,
    /// DT_RUNPATH or DT_RPATH of the program and of its libraries.
    pub runpath: Option<&'p [u8]>,
    /// The program's directory, for `$ORIGIN`.
    pub origin: Option<&'p [u8]>,
    /// AT_SECURE.
    pub secure: bool,
    /// Whether the program was loaded by these places, so that its native libraries were searched for there.
    pub searched: bool,
}

/// A libc, and its ld.so, opened.
pub type Chosen<F> = (Libc, (F, FileInfo));

/// Chooses the libc for `natives`, and for native libraries of the names `wanted`; `None` if the machine has none.
///
/// On a machine with one libc, it is that one, unless musl is asked for by a name of its own, or by a library that is built
/// for it: nothing else has those names, while `libc.so.6` stands for any libc. With both, the first native library decides, by
/// its DT_NEEDED, that is found through LD_LIBRARY_PATH, a DT_RUNPATH, or a slash in its name. Libraries in the system's own directories do
/// not decide: they are glibc's on a machine that has glibc. The libraries of `natives` are searched for only if that was not
/// done when the program was loaded.
///
/// # Errors
/// The ld.so of musl is asked for and missing, or one is present and can not be opened, by its path; the kernel's error for a
/// file of `wanted`; out of memory.
pub fn choose<'a, S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    natives: &NativeNeeds<'_>,
    wanted: &[&[u8]],
    places: &Places<'_>,
    page: PageSize,
    trace: Trace,
) -> Result<Option<Chosen<S::File>>, Error<'a>> {
    // Only absence counts as absence: after any other failure the other libc would be the wrong one.
    let open = |libc: Libc| match sys.open(libc.interpreter().as_bytes()) {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) if error.is_absence() => Ok(Err(error)),
        Err(error) => Err(error).of(libc.interpreter().as_bytes()),
    };
    let (told, again) = if places.searched { (natives.told, &[][..]) } else { (None, &*natives.libraries) };
    let named_by = |names: &[&[u8]]| {
        let is_there = |libc: &Libc| names.iter().any(|name| Libc::named_by(name) == Some(*libc));
        [Libc::Musl, Libc::Gnu].into_iter().find(is_there)
    };
    // The name of a libc that the program needs tells which it was linked with; what it opens has to fit that.
    let own = named_by(&natives.libraries);
    let by_name = own.or_else(|| named_by(wanted));
    let wanted = if own.is_some() { &[] } else { wanted };
    let listed = places.library_path.is_some() || places.runpath.is_some();
    let tells = |name: &&[u8]| Libc::named_by(name).is_none() && (listed || is_path(name));
    let sure = match told {
        Some((path, libc)) => {
            say(trace, path, libc);
            Some(libc)
        }
        // No library can be found to say otherwise.
        None if !again.iter().chain(wanted).any(tells) => Some(by_name.unwrap_or(Libc::Gnu)),
        None => None,
    };
    let [first, second] = match sure {
        Some(Libc::Musl) => [Libc::Musl, Libc::Gnu],
        _ => [Libc::Gnu, Libc::Musl],
    };
    let opened = match open(first)? {
        Ok(opened) if sure.is_some() => return Ok(Some((first, opened))),
        opened => opened,
    };
    let by_libraries = || named(sys, arena, again.iter().chain(wanted), places, page, trace);
    // musl is not replaced by glibc, which has none of its names.
    let or_other = |missing: Libc, error, other| match told.map(|(_, libc)| libc).or(by_name) {
        Some(Libc::Musl) if missing == Libc::Musl && by_libraries()?.is_none_or(|libc| libc == Libc::Musl) => {
            Err(error).of(missing.interpreter().as_bytes())
        }
        _ => Ok(Some(other)),
    };
    Ok(match (opened, open(second)?) {
        (Ok(opened), Ok(other)) => {
            let libc = by_libraries()?.or(by_name).unwrap_or(Libc::Gnu);
            Some(if libc == first { (first, opened) } else { (second, other) })
        }
        (Ok(opened), Err(error)) => or_other(second, error, (first, opened))?,
        (Err(error), Ok(opened)) => or_other(first, error, (second, opened))?,
        (Err(one), Err(other)) => {
            // A libc that is present but may not be used is the error to report.
            let forbidden = [(first, one), (second, other)]
                .into_iter()
                .find(|(_, error)| *error != OpenError::Errno(Errno::ENOENT));
            match forbidden {
                Some((libc, error)) => return Err(error).of(libc.interpreter().as_bytes()),
                None => None,
            }
        }
    })
}

fn say(trace: Trace, path: &[u8], libc: Libc) {
    trace.line(Category::Libc, words!("{} is built for {}", path, libc.name()));
}

/// The libc that the first of `libraries` that is found is built for.
fn named<'n, S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    libraries: impl Iterator<Item = &'n &'n [u8]>,
    places: &Places<'_>,
    page: PageSize,
    trace: Trace,
) -> Result<Option<Libc>, Error<'static>> {
    let judge = |path: &[u8]| -> Result<Option<Libc>, Error<'static>> {
        let (file, info) = match sys.open(path) {
            Ok(opened) => opened,
            Err(error) if error.is_absence() || error == OpenError::NotRegular => return Ok(None),
            Err(error) => return Err(error).of(arena.copy(path).of(OWN)?),
        };
        match libc_of(sys, arena, &file, &info, page) {
            Ok(libc) => Ok(libc.inspect(|&libc| say(trace, path, libc))),
            // Failures of the kernel are reported here; a broken file is for libc's ld.so to report.
            Err(failure) => match *failure {
                Problem::Map(_) | Problem::Read(_) => Err(failure).of(arena.copy(path).of(OWN)?),
                _ => Ok(None),
            },
        }
    };
    let lists = [(places.library_path, true), (places.runpath, false)];
    let mut room = PathRoom::new(arena);
    for name in libraries.filter(|name| Libc::named_by(name).is_none()) {
        if is_path(name) {
            if room.expand(name, places.origin, places.secure).of(OWN)?
                && let Some(libc) = judge(room.path())?
            {
                return Ok(Some(libc));
            }
            continue;
        }
        for (list, from_environment) in lists {
            for entry in list.into_iter().flat_map(|list| entries(list, from_environment)) {
                if room.expand(entry, places.origin, places.secure).of(OWN)?
                    && room.enter(name).of(OWN)?
                    && let Some(libc) = judge(room.path())?
                {
                    return Ok(Some(libc));
                }
            }
        }
    }
    Ok(None)
}
