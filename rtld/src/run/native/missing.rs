//! Native libraries that ld.so would not find, said without entering it.
#![forbid(unsafe_code)]

use abi::libcs::Libc;
use rtld::base::addr::PageSize;
use rtld::base::arena::{Arena, List};
use rtld::base::report::Trace;
use rtld::error::{Error, OWN, OfObject, Problem};
use rtld::link::file::map_object;
use rtld::link::namespace::Namespace;
use rtld::link::search::ProgramPath;
use rtld::native::choose::{Places, choose};
use rtld::native::missing::missing;
use rtld::native::needs::NativeNeeds;
use rtld::native::walk::{Circumstances, Fault};
use rtld::os::mapped::MappedImage;
use rtld::os::sys::Linux;
use rtld::start::invocation::Settings;

use crate::run::kernel::Block;
use crate::run::native::gather::search_of;

/// The parts of a start that the search for native libraries depends on.
#[derive(Clone, Copy)]
pub(crate) struct Start<'p> {
    pub(crate) arena: &'static Arena,
    pub(crate) block: &'p Block,
    /// The variables of the start, if the program has run since.
    pub(crate) variables: Option<&'p [(usize, &'static [u8])]>,
    pub(crate) program_path: ProgramPath<'static>,
    pub(crate) secure: bool,
    pub(crate) page: PageSize,
    pub(crate) trace: Trace,
}

/// The loaded objects, and what they need of libc's world.
type Objects<'p> = (&'p Namespace<'static, MappedImage>, &'p NativeNeeds<'static>);

/// The search path for native libraries, as tag and text.
type SearchPath<'p> = Option<(u64, &'p [u8])>;

impl Start<'_> {
    /// The variables that ld.so sees.
    fn environment(&self) -> impl Iterator<Item = &'static [u8]> {
        let kept = self.variables.unwrap_or_default().iter().map(|(_, text)| *text);
        let now = if self.variables.is_some() { 0 } else { usize::MAX };
        kept.chain(self.block.environment().take(now))
    }

    /// The faults of the native libraries, and of those of the names `wanted`, that ld.so would end the process for.
    pub(crate) fn faults(
        &self,
        (namespace, natives): Objects<'_>,
        (libc, ld_so): (Libc, &MappedImage),
        search: SearchPath<'_>,
        wanted: &[&[u8]],
    ) -> List<'static, Fault<'static>> {
        let Self { arena, secure, page, .. } = *self;
        // These bring other libraries, or other rules.
        let changes = |variable: &[u8]| {
            let others = [&b"LD_PRELOAD="[..], b"LD_AUDIT="];
            others.iter().any(|name| variable.strip_prefix(*name).is_some_and(|value| !value.is_empty()))
        };
        if !secure && self.environment().any(changes) {
            return List::new(arena);
        }
        let library_path = Settings::from_environment(self.environment()).library_path.filter(|_| !secure);
        let program = namespace.module(0).path;
        let circumstances = Circumstances { libc, program, search, library_path, secure, page };
        let roots = natives.libraries.iter().filter(|name| !natives.is_optional(name)).chain(wanted);
        missing(&Linux, arena, ld_so, roots.copied(), &circumstances)
    }

    /// [`Self::faults`], with the libc that would be brought in.
    ///
    /// # Errors
    /// No libc is there, or its ld.so can not be opened or mapped; out of memory.
    pub(crate) fn faults_of_chosen(
        &self,
        objects: Objects<'_>,
    ) -> Result<List<'static, Fault<'static>>, Error<'static>> {
        let Self { arena, program_path, secure, page, trace, .. } = *self;
        let (namespace, natives) = objects;
        if natives.libraries.is_empty() {
            return Ok(List::new(arena));
        }
        let program = namespace.module(0).path;
        let search = search_of(arena, namespace, program_path, secure, None).of(program)?;
        let library_path = Settings::from_environment(self.environment()).library_path.filter(|_| !secure);
        let expanded = natives.libraries.iter().copied().chain(library_path);
        let origin = program_path.origin_for(arena, expanded).of(program)?;
        let runpath = search.map(|(_, list)| list);
        let places = Places { library_path, runpath, origin, secure };
        let chosen = choose(&Linux, arena, natives, &[], &places, page, trace)?;
        let (libc, (file, info)) = chosen.ok_or(Problem::NoLibc).of(program)?;
        let mapped = map_object(&Linux, arena, &file, &info, page).of(OWN)?;
        Ok(self.faults(objects, (libc, &mapped.image), search, &[]))
    }
}

/// The first of the faults as an error.
///
/// # Errors
/// That one.
pub(crate) fn first(faults: &[Fault<'static>]) -> Result<(), Error<'static>> {
    faults.first().map_or(Ok(()), |fault| Err(Error::new(fault.object, fault.problem)))
}
