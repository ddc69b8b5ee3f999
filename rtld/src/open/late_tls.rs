//! Thread-local storage of libraries that are opened: their slots in the threads' tables of blocks.
#![forbid(unsafe_code)]

use crate::base::addr::from_usize;
use crate::base::arena::{Arena, List};
use crate::base::report::Trace;
use crate::error::{Failure, Problem, Table};
use crate::link::namespace::{Module, Namespace};
use crate::link::tls::{LateTls, TlsPlace, trace_tls};
use crate::os::seam::Image;

/// The slots, and what was given so far.
pub(crate) struct LateTlsSlots<'a> {
    /// Whether a slot is in use.
    taken: List<'a, bool>,
    /// Number of libraries that have had one.
    keys: u64,
}

impl<'a> LateTlsSlots<'a> {
    /// None in use.
    pub(crate) const fn new(arena: &'a Arena) -> Self {
        Self { taken: List::new(arena), keys: 0 }
    }

    /// Gives a module the first free slot, if it has thread-local storage. What is known of that goes into `arena`.
    ///
    /// # Errors
    /// [`Problem::OutsideImage`] if the initial values are not in readable memory of the module; out of memory.
    pub(crate) fn admit<I: Image>(
        &mut self,
        arena: &'a Arena,
        module: &mut Module<'a, I>,
        trace: Trace,
    ) -> Result<(), Failure<'static>> {
        let Some(segment) = module.image.plan().tls else { return Ok(()) };
        // Without initial values the segment may be anywhere.
        if segment.file_size != 0 && module.image.bytes(segment.vaddr, segment.file_size).is_none() {
            return Err(Problem::OutsideImage { table: Table::TlsImage, vaddr: segment.vaddr }.into());
        }
        let slot = self.taken.iter().position(|&taken| !taken).unwrap_or(self.taken.len());
        self.taken.resize(slot.saturating_add(1).max(self.taken.len()), false)?;
        self.keys = self.keys.wrapping_add(1);
        let image = module.image.bias().runtime(segment.vaddr);
        module.tls = Some(TlsPlace::Late(arena.put(LateTls::new(from_usize(slot), self.keys, image, segment))?));
        if let Some(taken) = self.taken.get_mut(slot) {
            *taken = true;
        }
        trace_tls(trace, module.path, &segment, None);
        Ok(())
    }

    /// Lets another library have the slot of a module that goes.
    pub(crate) fn release<I>(&mut self, module: &Module<'_, I>) {
        let Some(TlsPlace::Late(late)) = module.tls else { return };
        if let Some(taken) = self.taken.get_mut(late.slot()) {
            *taken = false;
        }
    }
}

/// The static storage of all opened modules, and its distance from the thread pointer.
pub fn placed<'n, 'a, I: Image>(
    namespace: &'n Namespace<'a, I>,
) -> impl Iterator<Item = (&'a LateTls, i64)> + use<'n, 'a, I> {
    namespace.all().filter_map(|(_, module)| match module.tls? {
        TlsPlace::Late(late) => Some((late, late.distance()?)),
        TlsPlace::Start { .. } => None,
    })
}
