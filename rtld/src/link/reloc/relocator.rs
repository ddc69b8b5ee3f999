//! The state of relocation: its inputs, and its results.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, Vaddr};
use crate::base::arena::{Arena, List};
use crate::base::report::Trace;
use crate::elf::allowance::NameAllowance;
use crate::elf::version::NeededVersions;
use crate::error::Failure;
use crate::link::namespace::Namespace;
use crate::link::reloc::finder::{Finder, Targets};
use crate::link::stubs::LoaderCode;
use crate::link::tls::TlsLayout;
use crate::native::needs::NativeNeeds;
use crate::os::seam::ImageMut;

/// The surroundings of relocation, besides the objects.
#[derive(Clone, Copy)]
pub struct RelocContext<'r, 'a> {
    /// Memory for results, which stay.
    pub arena: &'a Arena,
    /// Memory for temporary tables.
    pub scratch: &'r Arena,
    /// Code of the loader to which words refer.
    pub code: LoaderCode,
    /// The output of trace lines.
    pub trace: Trace,
    /// Whether all words of the program have their values already, by a deferred start, which numbers imports by symbols.
    pub written: bool,
}

/// A COPY relocation, done once every word has its value: module and address of target and source, size in bytes.
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
    pub(super) objects: Targets<'r>,
    pub(super) trace: Trace,
    pub(super) finder: Finder<'r>,
    /// Versions that the present module needs.
    pub(super) versions: NeededVersions<'a>,
    /// The bytes of names that may still be read of it.
    pub(super) names: NameAllowance,
    /// Modules to which the present one is known to refer, if it was opened at run time.
    pub(super) used: List<'r, bool>,
    pub(super) copies: List<'a, CopyLater>,
    /// [`RelocContext::written`].
    pub(super) written: bool,
    /// Numbers of imports by symbol, where that is how they are numbered.
    pub(super) by_symbol: List<'r, Option<u32>>,
    /// Function of a TLS descriptor that has the last value of a thread-local symbol as its argument.
    pub(super) describes: RuntimeAddr,
    /// The layout of static thread-local storage, where a fresh module may still be placed in it.
    pub layout: Option<&'r mut TlsLayout>,
    /// Facts about the modules, gathered from the names of their references.
    pub seen: SpecialReferences,
    /// Words whose value a resolver returns.
    pub indirect: List<'a, Indirect>,
}

/// A word whose value a resolver returns (STT_GNU_IFUNC). It is called once everything that it may depend on is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indirect {
    /// Number of the module that contains the word.
    pub module: usize,
    /// Address of the word.
    pub at: Vaddr,
    /// Address of the resolver.
    pub resolver: RuntimeAddr,
    /// Added to the resolver's result.
    pub addend: u64,
}

/// Facts about objects that the names of their references show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialReferences {
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
    /// A relocator for modules of `namespace`; native symbols and slots are collected in `natives`.
    #[must_use]
    pub fn new(
        namespace: &'r mut Namespace<'a, I>,
        natives: &'r mut NativeNeeds<'a>,
        objects: Targets<'r>,
        means: RelocContext<'r, 'a>,
    ) -> Self {
        let RelocContext { arena, scratch, code, trace, written } = means;
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
            names: NameAllowance::default(),
            used: List::new(scratch),
            copies,
            written,
            by_symbol: List::new(scratch),
            describes: code.tls_descriptor,
            layout: None,
            seen: SpecialReferences::default(),
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
