//! Values of thread-local symbols.
#![forbid(unsafe_code)]

use crate::base::addr::RuntimeAddr;
use crate::elf::{Sym, consts, st_bind, st_type};
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::reloc::relocator::Relocator;
use crate::link::stubs::TlsDescArg;
use crate::link::tls::{LateTls, TlsPlace, trace_tls};
use crate::machine::{Machine, RelocKind};
use crate::os::seam::ImageMut;

const INITIAL_EXEC: &str = "initial-exec use of the thread-local storage of a library that was opened before";
/// Module number in DTPMOD words for native thread-local symbols: their offset is from the thread pointer.
pub const AT_THREAD_POINTER: u64 = u64::MAX;

impl<'a, I: ImageMut> Relocator<'_, 'a, I> {
    /// The value for symbol `number` of module `index`, which is opened at run time and finds the symbol in native libraries at most.
    /// A weak one counts as undefined.
    pub(super) fn native_thread_local(
        &mut self,
        index: usize,
        path: &'a [u8],
        number: u32,
        sym: &Sym,
        addend: u64,
    ) -> Result<u64, Error<'a>> {
        if st_bind(sym) == consts::STB_WEAK {
            self.describes = self.code.tls_undefined;
            return Ok(addend);
        }
        let why = "is thread-local in a native library, which what is opened at run time can not use";
        Err(Problem::SymbolKind { symbol: self.copy_name(index, number).of(path)?, why }).of(path)
    }

    /// The value for a thread-local symbol of module `definer` with the `st_value` `value`; `None` if the relocation is not
    /// one of thread-local storage.
    pub(super) fn thread_local(
        &mut self,
        kind: RelocKind,
        definer: usize,
        value: u64,
        addend: u64,
    ) -> Option<Result<u64, Failure<'a>>> {
        let missing = Problem::Unsupported("thread-local symbol of an object without PT_TLS");
        let place = self.namespace.module(definer).tls.ok_or_else(|| Failure::from(missing));
        let value = value.wrapping_add(addend);
        match kind {
            RelocKind::TpOffset => Some(
                place
                    .and_then(|place| self.fixed(definer, place))
                    .map(|distance| value.wrapping_add_signed(distance)),
            ),
            RelocKind::TlsDescriptor => Some(place.and_then(|place| match (place, place.distance()) {
                (_, Some(distance)) => Ok(value.wrapping_add_signed(distance)),
                (TlsPlace::Late(late), None) => self.described(late, value),
                (TlsPlace::Start { .. }, None) => Ok(value),
            })),
            RelocKind::DtpModule => Some(place.map(|place| place.id())),
            RelocKind::DtpOffset => Some(Ok(value.wrapping_sub(I::Machine::TLS.dtp_bias))),
            _ => None,
        }
    }

    /// The argument of a TLS descriptor whose function gives the thread a block first.
    fn described(&mut self, late: &'a LateTls, offset: u64) -> Result<u64, Failure<'a>> {
        self.describes = self.code.tls_described;
        let described = self.arena.put(TlsDescArg { entry: late.entry, key: late.key, offset, late })?;
        Ok(RuntimeAddr::of(described).0)
    }

    /// Distance of the blocks of module `definer` from the thread pointer, which code has compiled in. A fresh module is
    /// placed now.
    fn fixed(&mut self, definer: usize, place: TlsPlace<'a>) -> Result<i64, Failure<'a>> {
        match (place, place.distance(), &mut self.layout) {
            (_, Some(distance), _) => Ok(distance),
            (TlsPlace::Late(late), None, Some(layout)) if self.objects.fresh.contains(&definer) => {
                let distance = late.place(layout)?;
                trace_tls(self.trace, self.namespace.module(definer).path, &late.segment, Some(distance));
                Ok(distance)
            }
            _ => Err(Problem::Unsupported(INITIAL_EXEC).into()),
        }
    }
}

/// Whether a symbol may be thread-local: it is, or it is of another object and its type is not stated.
pub(super) fn may_be_thread_local(sym: &Sym) -> bool {
    let unknown = u32::from(sym.st_shndx) == consts::SHN_UNDEF && st_type(sym) == consts::STT_NOTYPE;
    st_type(sym) == consts::STT_TLS || unknown
}

pub(super) const fn is_thread_local(kind: RelocKind) -> bool {
    use RelocKind::{DtpModule, DtpOffset, TlsDescriptor, TpOffset};
    matches!(kind, DtpModule | DtpOffset | TlsDescriptor | TpOffset)
}
