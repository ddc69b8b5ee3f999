//! PLT slots that wait: nobody defines the function yet, and the object was linked to be bound when it calls.
//!
//! Such a slot leads back into the object's PLT, which pushes the number of the slot's relocation, then the second word of
//! the table at DT_PLTGOT, and jumps to the third (x86_64 psABI, "Procedure Linkage Table"). The second word says which
//! module it is.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, Vaddr, from_usize, to_usize};
use crate::base::report::Category;
use crate::elf::{Rela, r_type};
use crate::link::reloc::relocator::Relocator;
use crate::machine::{Machine, RelocKind};
use crate::os::seam::ImageMut;
use crate::words;

/// A PLT slot that waits, in one word: the module, and the number of the relocation in DT_JMPREL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingSlot {
    /// Number of the module.
    pub module: usize,
    /// Number of the relocation.
    pub entry: u64,
}

impl WaitingSlot {
    /// The bit that tells such a word from others.
    pub const BIT: u64 = 1 << 62;
    /// Bits of the number of the relocation: PLTs push 32, the highest of which is not set.
    const BITS: u32 = 32;

    /// The word of the first slot of a module. `None` if there are more modules than it has room for.
    fn of_module(module: usize) -> Option<u64> {
        let module = u64::from(u32::try_from(module).ok()?) << Self::BITS;
        (module & Self::BIT == 0).then_some(module | Self::BIT)
    }

    /// The slot that a word means; `None` if it is no such word.
    #[must_use]
    pub fn of(word: u64) -> Option<Self> {
        let module = to_usize((word & !Self::BIT) >> Self::BITS);
        let entry = word & from_usize(usize::MAX >> Self::BITS);
        (word & Self::BIT != 0).then_some(Self { module, entry })
    }
}

impl<I: ImageMut> Relocator<'_, '_, I> {
    /// The value of a PLT slot whose function nobody defines, if it can wait for its first call.
    pub(super) fn waiting(&mut self, index: usize, rela: &Rela) -> Option<u64> {
        if I::Machine::kind(r_type(rela)) != Some(RelocKind::JumpSlot) || self.written {
            return None;
        }
        let waiting = self.code.waiting?;
        let module = self.namespace.module_mut(index);
        let table = module.dynamic.plt_got.filter(|_| !module.dynamic.bind_now)?;
        let at = Vaddr(rela.r_offset);
        let plan = module.image.plan();
        // What is read-only once the object is sealed can not be given another value then.
        let sealed = plan.relro.is_some_and(|relro| relro.start <= at && at < relro.end);
        let bias = module.image.bias();
        let before: u64 = module.image.get(at).filter(|_| !sealed)?;
        // A slot that two tables have is met again.
        let known = module.is_code(bias.vaddr(RuntimeAddr(before)));
        let back = if module.is_code(Vaddr(before)) { bias.runtime(Vaddr(before)).0 } else { before };
        if back == before && !known {
            return None;
        }
        module.image.write_word(table.checked_add(8)?, WaitingSlot::of_module(index)?)?;
        module.image.write_word(table.checked_add(16)?, waiting.0)?;
        self.trace.line(
            Category::Bindings,
            words!("{}: the function of the slot at vaddr {x} waits for its first call", module.path, at.0),
        );
        Some(back)
    }
}

#[cfg(test)]
mod tests {
    use super::WaitingSlot;

    #[test]
    fn a_word_has_module_and_number() {
        for (module, entry) in [(0, 0), (7, 3), (0x3fff_ffff, 0x7fff_ffff)] {
            let word = WaitingSlot::of_module(module).unwrap() | entry;
            assert_eq!(WaitingSlot::of(word), Some(WaitingSlot { module, entry }));
        }
        assert_eq!((WaitingSlot::of_module(1 << 30), WaitingSlot::of_module(1 << 33)), (None, None));
        assert_eq!((WaitingSlot::of(5), WaitingSlot::of(1 << 63)), (None, None));
    }
}
