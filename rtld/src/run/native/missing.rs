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
use rtld::native::choose::{Chosen, Places, choose};
use rtld::native::missing::missing;
use rtld::native::needs::NativeNeeds;
use rtld::native::walk::{Circumstances, Fault};
use rtld::os::mapped::MappedImage;
use rtld::os::sys::{File, Linux};
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
    pub(crate) settings: Settings<'static>,
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
        let now = if self.variables.is_some() || self.secure { 0 } else { usize::MAX };
        kept.chain(self.block.environment().take(now))
    }

    /// LD_LIBRARY_PATH as ld.so sees it: of a repeated variable the last for glibc's, the first for musl's.
    fn library_path(&self, libc: Libc) -> Option<&'static [u8]> {
        let mut texts = self.environment().filter_map(|variable| variable.strip_prefix(b"LD_LIBRARY_PATH="));
        let text = if libc == Libc::Musl { texts.next() } else { texts.last() };
        text.filter(|text| !text.is_empty())
    }

    /// The libc that the program wants, and its ld.so. Native libraries of the names `wanted` decide, if nothing else does.
    ///
    /// # Errors
    /// No libc is there, or its ld.so can not be opened; out of memory.
    pub(crate) fn chosen(
        &self,
        (namespace, natives): Objects<'_>,
        search: SearchPath<'_>,
        wanted: &[&[u8]],
    ) -> Result<Chosen<File>, Error<'static>> {
        let Self { arena, program_path, secure, page, trace, .. } = *self;
        let program = namespace.module(0).path;
        let library_path = self.library_path(Libc::Gnu);
        let expanded = natives.libraries.iter().chain(wanted).copied().chain(library_path);
        let origin = program_path.origin_for(arena, expanded).of(program)?;
        let runpath = search.map(|(_, list)| list);
        let places = Places { library_path, runpath, origin, secure, searched: !self.settings.by_command_line };
        choose(&Linux, arena, natives, wanted, &places, page, trace)?.ok_or(Problem::NoLibc).of(program)
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
        let optional = natives.libraries.iter().any(|name| natives.is_optional(name));
        // An optional library, opened before those that are wanted, may bring what these need.
        if self.environment().any(changes) || optional && !wanted.is_empty() {
            return List::new(arena);
        }
        let library_path = self.library_path(libc);
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
        let Self { arena, program_path, secure, page, .. } = *self;
        let (namespace, natives) = objects;
        if natives.libraries.is_empty() {
            return Ok(List::new(arena));
        }
        let search = search_of(arena, namespace, program_path, secure, None).of(namespace.module(0).path)?;
        let (libc, (file, info)) = self.chosen(objects, search, &[])?;
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
