//! The template's file, which tells whoever looks at a process who has brought libc in.
#![forbid(unsafe_code)]

use abi::notice::FRAME;

use crate::base::addr::{PageSize, RuntimeAddr, Vaddr};
use crate::elf::symbol::{Name, lookup};
use crate::error::{Errno, Error, OfObject, Problem};
use crate::link::file::{Mapped, map_object};
use crate::os::seam::{AddressSpace, Image};

/// The file, mapped.
pub struct Notice<I> {
    /// Its memory.
    pub image: I,
    /// Its dynamic section, for debuggers.
    pub dynamic: RuntimeAddr,
    /// Where backtraces are to end: a return address, after the first instruction of the function.
    pub frame: RuntimeAddr,
}

/// Maps it. Nothing of it is relocated or called; that it is the right file its function tells.
pub fn map_notice<'a, S: AddressSpace>(
    sys: &S,
    path: &'a [u8],
    page: PageSize,
) -> Result<Notice<S::Image>, Error<'a>> {
    /// Bytes of address space that it may take. It takes two pages.
    const MOST: u64 = 64 << 10;
    let (file, info) = sys.open(path).of(path)?;
    let Mapped { dynamic, image, .. } = map_object(sys, &file, &info, page).of(path)?;
    let plan = image.plan();
    if plan.span.len() > MOST {
        return Err(Problem::Map(Errno::ENOMEM)).of(path);
    }
    let sym = lookup(&image, &dynamic, &Name::new(FRAME.as_bytes())).of(path)?;
    let frame = sym.and_then(|sym| Vaddr(sym.st_value).checked_add(1));
    let is_code = |&vaddr: &Vaddr| plan.segment_of(vaddr, 1).is_some_and(|segment| segment.protection.execute);
    let none = Problem::NotCode { what: FRAME, vaddr: frame.unwrap_or_default() };
    let frame = frame.filter(is_code).ok_or(none).of(path)?;
    let bias = image.bias();
    let dynamic = plan.dynamic.map_or(RuntimeAddr(0), |place| bias.runtime(place.vaddr));
    Ok(Notice { image, dynamic, frame: bias.runtime(frame) })
}
