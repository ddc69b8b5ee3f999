//! Objects that are ready to be initialised and entered.
#![forbid(unsafe_code)]

use crate::base::arena::{Arena, List, OutOfMemory};
use crate::elf::plan::{Protection, TlsSegment};
use crate::error::{Error, OfObject, Problem, Table};
use crate::link::init;
use crate::link::namespace::{Module, Namespace, Need};
use crate::link::reloc::{Indirect, SpecialReferences};
use crate::link::tls::{TlsLayout, TlsPlace};
use crate::machine::Machine;
use crate::native::needs::NativeNeeds;
use crate::os::seam::{AddressSpace, Image, ImageMut};

/// The order in which the objects of `scope`, a root and its needs, are initialised; without those for which `done`
/// returns true.
pub(crate) fn init_order<'a, I: Image>(
    arena: &'a Arena,
    namespace: &Namespace<'a, I>,
    scope: &[usize],
    done: impl Fn(usize) -> bool,
) -> Result<&'a [usize], OutOfMemory> {
    let needs = |object: usize, n: usize| {
        let needed = namespace.module(object).needed.get(n..).unwrap_or_default();
        // A need that is not a module of this world is answered by the module itself, which the order ignores.
        needed.first().map(|need| if let Need::Module(index) = need { *index } else { object })
    };
    init::order(arena, namespace.bound(), scope, done, needs)
}

/// Changes the protection of a module's RELRO pages, if it has any and was relocated. Otherwise whatever is to be written
/// there the object writes itself.
///
/// # Errors
/// [`Problem::Protect`] with the error number of mprotect(2).
pub fn protect_relro<'a, S: AddressSpace>(
    sys: &S,
    module: &Module<'a, S::Image>,
    protection: Protection,
) -> Result<(), Error<'a>> {
    match module.image.plan().relro.filter(|_| module.dynamic.has_relocations()) {
        Some(range) => sys.protect(&module.image, range, protection).map_err(Problem::Protect).of(module.path),
        None => Ok(()),
    }
}

/// A set of objects that is ready to be initialised and entered.
pub struct Sealed<'a, I> {
    /// The objects.
    pub namespace: Namespace<'a, I>,
    /// The names and symbols that are left to the system's ld.so.
    pub natives: NativeNeeds<'a>,
    /// Layout of the static thread-local block.
    pub tls: TlsLayout,
    /// Facts about the objects, gathered from the names of their references.
    pub seen: SpecialReferences,
    /// Words whose value a resolver returns (STT_GNU_IFUNC).
    pub indirect: List<'a, Indirect>,
    /// Numbers of the modules, dependencies first, the program last.
    pub init_order: &'a [usize],
}

impl<'a, I: ImageMut> Sealed<'a, I> {
    /// The modules with thread-local storage: its segment, and its distance from the thread pointer.
    fn thread_local(&self) -> impl Iterator<Item = (&Module<'a, I>, &TlsSegment, i64)> {
        self.namespace.loaded().filter_map(|(_, module)| match (&module.image.plan().tls, module.tls) {
            (Some(segment), Some(TlsPlace::Start { distance, .. })) => Some((module, segment, distance)),
            _ => None,
        })
    }

    /// Writes the initial images of all modules' thread-local storage into `block`, which is zero.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if an image is not in readable memory; [`Problem::TlsSize`] if the block is too small
    /// for one.
    pub fn fill_tls(&self, block: &mut [u8]) -> Result<(), Error<'a>> {
        for (module, segment, distance) in self.thread_local() {
            let outside = Problem::OutsideImage { table: Table::TlsImage, vaddr: segment.vaddr };
            // Without an image the segment may be anywhere.
            let image = match segment.file_size {
                0 => &[],
                size => module.image.bytes(segment.vaddr, size).ok_or(outside).of(module.path)?,
            };
            if !self.tls.fill(block, distance, image) {
                return Err(Problem::TlsSize(segment.mem_size)).of(module.path);
            }
        }
        Ok(())
    }

    /// Offsets in the block at which all initial values, room for later ones included, and everything that is used end.
    #[must_use]
    pub fn tls_ends(&self) -> (u64, u64) {
        let room = self.tls.room_end();
        let mut ends = (room, room);
        for (_, segment, distance) in self.thread_local() {
            let start = self.tls.image_offset(distance);
            ends.0 = ends.0.max(start.saturating_add(segment.file_size));
            ends.1 = ends.1.max(start.saturating_add(segment.mem_size));
        }
        // The loader's own state is beyond all modules, seen from the thread pointer.
        if I::Machine::TLS.negative && ends.1 > room { ends } else { (ends.0, self.tls.size()) }
    }
}
