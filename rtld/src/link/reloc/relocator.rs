//! What relocating works on, and what it collects.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, Vaddr};
use crate::base::arena::{Arena, List};
use crate::base::report::Trace;
use crate::elf::version::NeededVersions;
use crate::error::Failure;
use crate::link::namespace::Namespace;
use crate::link::reloc::finder::{Finder, Objects};
use crate::link::stubs::LoaderCode;
use crate::native::needs::NativeNeeds;
use crate::os::seam::ImageMut;

/// What relocating needs besides objects.
#[derive(Clone, Copy)]
pub struct Means<'r, 'a> {
    /// Memory for what stays.
    pub arena: &'a Arena,
    /// Memory for what does not.
    pub scratch: &'r Arena,
    /// Code of the loader that words refer to.
    pub code: LoaderCode,
    /// Where trace lines go.
    pub trace: Trace,
}

/// Bytes to be copied once every word has its value.
#[derive(Clone, Copy)]
pub(super) struct CopyLater {
    pub(super) to: (usize, Vaddr),
    pub(super) from: (usize, Vaddr),
    pub(super) size: u64,
    pub(super) r_type: u32,
}

/// Relocates modules of a namespace.
pub struct Relocator<'r, 'a, I> {
    pub(super) namespace: &'r mut Namespace<'a, I>,
    pub(super) natives: &'r mut NativeNeeds<'a>,
    pub(super) code: LoaderCode,
    pub(super) arena: &'a Arena,
    pub(super) scratch: &'r Arena,
    pub(super) objects: Objects<'r>,
    pub(super) trace: Trace,
    pub(super) finder: Finder<'r>,
    /// Versions that the module at hand needs.
    pub(super) versions: NeededVersions<'a>,
    /// Modules that the one at hand refers to already, if it was opened at run time.
    pub(super) used: List<'r, bool>,
    pub(super) copies: List<'a, CopyLater>,
    /// Whether the last thread-local symbol's value was a [`Described`]'s address.
    pub(super) is_described: bool,
    /// What references told in passing.
    pub seen: Seen,
    /// Words that wait for a resolver's answer.
    pub indirect: List<'a, Indirect>,
}

/// A word whose value a function of the object has to be asked for (STT_GNU_IFUNC): once everything that the function
/// may depend on is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indirect {
    /// Module that the word is in.
    pub module: usize,
    /// Where it is.
    pub at: Vaddr,
    /// The function.
    pub resolver: RuntimeAddr,
    /// Added to its answer.
    pub addend: u64,
}

/// What the names of references tell about the objects that have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Some object refers to `__stack_chk_fail`: its code reads the canary from the TCB.
    pub canary: bool,
    /// Some object may ask for libc without naming any native symbol.
    pub libc_wanted: bool,
    /// Some object refers to `slul_dlopen` or one of its relatives.
    pub opens: bool,
    /// Some object refers to `dl_iterate_phdr`.
    pub lists: bool,
}

impl<'r, 'a, I: ImageMut> Relocator<'r, 'a, I> {
    /// Of a namespace; native symbols and slots are collected in `natives`.
    #[must_use]
    pub fn new(
        namespace: &'r mut Namespace<'a, I>,
        natives: &'r mut NativeNeeds<'a>,
        objects: Objects<'r>,
        means: Means<'r, 'a>,
    ) -> Self {
        let Means { arena, scratch, code, trace } = means;
        let (copies, indirect) = (List::new(arena), List::new(arena));
        Self {
            namespace,
            natives,
            code,
            arena,
            scratch,
            objects,
            trace,
            finder: Finder::new(scratch),
            versions: NeededVersions::new(arena),
            used: List::new(scratch),
            copies,
            is_described: false,
            seen: Seen::default(),
            indirect,
        }
    }

    pub(super) fn copy_name(&self, index: usize, number: u32) -> Result<&'a [u8], Failure<'a>> {
        let module = self.namespace.module(index);
        let sym = module.dynamic.symbols.get(&module.image, number)?;
        let name = module.dynamic.strings.get(&module.image, u64::from(sym.st_name))?;
        Ok(self.arena.copy(name)?)
    }
}
