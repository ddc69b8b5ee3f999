//! The pipeline of a start: map the objects that DT_NEEDED names, relocate them, seal them.
//!
//! Each phase consumes the result of the one before, so none can be skipped, repeated or reordered: [`load`] ->
//! [`Loaded::relocate`] -> [`Relocated::seal`] -> [`Sealed`] (`sealed.rs`).
#![forbid(unsafe_code)]

use crate::base::addr::{PageSize, from_usize};
use crate::base::arena::{Arena, List};
use crate::base::hash::Key;
use crate::base::report::{Category, Trace};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::note::{abi_note, stray_note};
use crate::elf::plan::Protection;
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::namespace::{Module, Namespace};
use crate::link::peek::Outlook;
use crate::link::reloc::{Indirect, LoaderCode, RelocContext, Relocator, SpecialReferences, Targets};
use crate::link::resolve::{KnownLibraries, Resolver, Searches};
use crate::link::sealed::{Sealed, init_order, protect_relro};
use crate::link::search::{ProgramPath, SearchList};
use crate::link::tls::{TlsLayout, TlsPlace, trace_tls};
use crate::link::worlds::Worlds;
use crate::machine::Machine;
use crate::native::needs::{NativeNeeds, WhyEager};
use crate::os::seam::{AddressSpace, Image};
use crate::words;

/// An object that is in memory already: the program, or the loader.
#[derive(Debug)]
pub struct Present<'a, I> {
    /// The path by which messages name it.
    pub path: &'a [u8],
    /// Its memory.
    pub image: I,
    /// Address and number of its program headers.
    pub phdrs: Option<(crate::base::addr::Vaddr, u16)>,
}

/// The objects to start with, and the circumstances of the process.
#[derive(Debug)]
pub struct Request<'a, I> {
    /// The program.
    pub program: &'a mut Module<'a, I>,
    /// The loader itself.
    pub loader: &'a mut Module<'a, I>,
    /// Value of LD_LIBRARY_PATH; `None` if `secure`.
    pub library_path: Option<&'a [u8]>,
    /// The program's path, for `$ORIGIN`; unknown if `secure`.
    pub program_path: ProgramPath<'a>,
    /// AT_SECURE.
    pub secure: bool,
    /// Size of a page.
    pub page: PageSize,
    /// The key of tables by hash.
    pub key: Key,
    /// The output of trace lines.
    pub trace: Trace,
}

/// The result of [`load`]: all objects of this world are mapped, none is relocated.
pub struct Loaded<'a, I> {
    arena: &'a Arena,
    namespace: Namespace<'a, I>,
    natives: NativeNeeds<'a>,
    tls: TlsLayout,
    trace: Trace,
    /// Numbers of the program and its libraries.
    fresh: List<'a, usize>,
}

/// A module of an object that is in memory already. It is put into the arena, because modules are large and must not
/// move.
///
/// # Errors
/// PT_DYNAMIC is broken or asks for something the loader does not do; the ABI note is one that this loader can not
/// honour; out of memory.
#[inline(never)]
pub fn present<'a, I: crate::os::seam::ImageMut>(
    arena: &'a Arena,
    object: Present<'a, I>,
) -> Result<&'a mut Module<'a, I>, Error<'a>> {
    let Present { path, image, phdrs } = object;
    let dynamic = match image.plan().dynamic {
        Some(place) => DynamicInfo::decode(&image, place).of(path)?,
        None => DynamicInfo::default(),
    };
    dynamic.require_supported().of(path)?;
    let note = abi_note(&image).of(path)?;
    let (info, needer, tls, opened, needed) = (None, None, None, None, &[][..]);
    arena
        .put(Module { path, soname: path, info, needer, dynamic, image, phdrs, needed, tls, note, opened })
        .of(path)
}

/// Refuses a program with an ABI note that does not count, and so would be entered in the wrong way.
///
/// # Errors
/// [`Problem::StrayNote`], with its address.
pub fn require_no_stray_note<I: Image>(program: &Module<'_, I>) -> Result<(), Failure<'static>> {
    let known = program.note.is_some() || program.dynamic.called;
    let stray = if known { None } else { stray_note(&program.image) };
    stray.map_or(Ok(()), |vaddr| Err(Problem::StrayNote(vaddr).into()))
}

/// Maps everything that the program needs, breadth first.
///
/// # Errors
/// A library can not be found, opened, read or mapped, or is broken; the thread-local storage of all objects together
/// exceeds 1 GiB; out of memory. The error names the object.
// Not inlined: its large values must be gone from the stack when the next phase begins.
#[inline(never)]
pub fn load<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    request: Request<'static, S::Image>,
) -> Result<Loaded<'static, S::Image>, Error<'static>> {
    let Request { program, loader, library_path, program_path, secure, page, key, trace } = request;
    let mut namespace = Namespace::new(arena, key);
    if let Some(offset) = loader.dynamic.soname {
        let soname = loader.dynamic.strings.get(&loader.image, offset).of(loader.path)?;
        loader.soname = arena.copy(soname).of(loader.path)?;
    }
    let program_name = program.path;
    let program = namespace.add(program).of(program_name)?;
    let mut fresh = List::new(arena);
    fresh.push(program).of(program_name)?;
    let mut natives = NativeNeeds::new(arena, key);
    let known = KnownLibraries::of(&namespace, arena).of(program_name)?;
    let mut resolver = Resolver {
        sys,
        arena,
        loader_soname: loader.soname,
        library_path: library_path.map(SearchList::new),
        program_path,
        secure,
        page,
        trace,
        namespace: &mut namespace,
        natives: &mut natives,
        fresh,
        group: None,
        only_known: false,
        known,
        outlook: Outlook::OursOnly,
        searches: Searches::new(arena),
        worlds: Worlds::new(arena, &[]).of(program_name)?,
    };
    resolver.needs_of_fresh()?;
    while resolver.takes_back()? {
        resolver.needs_of_fresh()?;
    }
    let fresh = resolver.fresh;
    let mut layout = TlsLayout::new(<S::Image as Image>::Machine::TLS);
    for &index in fresh.iter() {
        let module = namespace.module_mut(index);
        if let Some(tls) = &module.image.plan().tls {
            let distance = layout.place(tls).of(module.path)?;
            module.tls = Some(TlsPlace::Start { distance, id: from_usize(index).wrapping_add(1) });
            trace_tls(trace, module.path, tls, Some(distance));
        }
    }
    let loader_name = loader.path;
    namespace.add_loader(loader).of(loader_name)?;
    Ok(Loaded { arena, namespace, natives, tls: layout, trace, fresh })
}

impl<'a, I: crate::os::seam::ImageMut> Loaded<'a, I> {
    /// The objects, in scope order.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace<'a, I> {
        &self.namespace
    }

    /// The names and symbols that are left to the system's ld.so.
    #[must_use]
    pub const fn natives(&self) -> &NativeNeeds<'a> {
        &self.natives
    }

    /// Writes all relocations. Native functions get first-call stubs.
    ///
    /// # Errors
    /// A version or symbol is not defined, or is of a kind that the relocation can not use; a relocation type is
    /// unknown; a word, initialiser or resolver is not where the object may have it; out of memory. The error names the
    /// object.
    pub fn relocate(self, code: LoaderCode) -> Result<Relocated<'a, I>, Error<'a>> {
        self.relocate_unless(false, code)
    }

    /// Learns what [`Loaded::relocate`] would, of a program whose words have been written by a deferred start: nothing is
    /// written. Native functions have the first-call stubs that they would have got.
    ///
    /// # Errors
    /// A table of the program says something that relocation refuses, which a deferred start did not see: the program has
    /// damaged it since. Out of memory. The error names the object.
    pub fn adopt(self, code: LoaderCode) -> Result<Relocated<'a, I>, Error<'a>> {
        self.relocate_unless(true, code)
    }

    fn relocate_unless(self, written: bool, code: LoaderCode) -> Result<Relocated<'a, I>, Error<'a>> {
        let Self { arena, mut namespace, mut natives, tls, trace, fresh } = self;
        let objects = Targets { fresh: &fresh, local: &[] };
        let scratch = arena.scratch();
        let means = RelocContext { arena, scratch: &scratch, code, trace, written };
        let mut relocator = Relocator::new(&mut namespace, &mut natives, objects, means);
        relocator.run()?;
        let Relocator { seen, indirect, .. } = relocator;
        let mut loaded = namespace.loaded();
        if natives.any()
            && natives.eager.is_none()
            && let Some((_, module)) = loaded.find(|(_, module)| module.tls.is_some())
        {
            natives.eager = Some((module.path, WhyEager::OwnTls));
        }
        drop(loaded);
        if let Some((name, why)) = natives.eager {
            trace.line(Category::Libc, words!("loaded eagerly: {} {}", name, why.text()));
        }
        Ok(Relocated { arena, namespace, natives, tls, seen, indirect })
    }
}

/// The result of [`Loaded::relocate`], where RELRO is still writable, or of [`Loaded::adopt`], where it is sealed: every
/// word has its value.
pub struct Relocated<'a, I> {
    arena: &'a Arena,
    namespace: Namespace<'a, I>,
    natives: NativeNeeds<'a>,
    tls: TlsLayout,
    seen: SpecialReferences,
    indirect: List<'a, Indirect>,
}

impl<'a, I: crate::os::seam::ImageMut> Relocated<'a, I> {
    /// Whether the link map has, or may get, more entries than the program and the loader.
    #[must_use]
    pub fn link_map_changes(&self) -> bool {
        self.namespace.loaded().count() > 1 || self.natives.any() || self.seen.libc_wanted
    }

    /// Writes the address of `_r_debug` into the program's DT_DEBUG, for debuggers. Called before sealing, because
    /// linkers put the dynamic section into RELRO.
    pub fn set_debug(&mut self, r_debug: crate::base::addr::RuntimeAddr) {
        let program = self.namespace.module_mut(0);
        if let Some(place) = program.dynamic.debug {
            // A dynamic section in read-only memory is left as it is: gdb then reads `_r_debug` by its name.
            let _ = program.image.write_word(place, r_debug.0);
        }
    }

    /// Makes RELRO read-only, the loader's own included, and computes the order of initialisation.
    ///
    /// # Errors
    /// [`Problem::Protect`](crate::error::Problem::Protect) with the error number of mprotect(2); out of memory.
    pub fn seal<S: AddressSpace<Image = I>>(self, sys: &S) -> Result<Sealed<'a, I>, Error<'a>> {
        for (_, module) in self.namespace.all() {
            protect_relro(sys, module, Protection::READ)?;
        }
        self.sealed()
    }

    /// Computes what remains to be known for a start, where RELRO is read-only already.
    ///
    /// # Errors
    /// No memory.
    pub fn sealed(self) -> Result<Sealed<'a, I>, Error<'a>> {
        let Self { arena, namespace, natives, tls, seen, indirect } = self;
        let program = namespace.module(0).path;
        // Modules are numbered breadth first.
        let scope = arena.slice(namespace.loaded().count(), 0usize).of(program)?;
        for (place, (index, _)) in scope.iter_mut().zip(namespace.loaded()) {
            *place = index;
        }
        let init_order = init_order(arena, &namespace, scope, |_| false).of(program)?;
        Ok(Sealed { namespace, natives, tls, seen, indirect, init_order })
    }
}
