//! The template's file, mapped so that debuggers and backtraces show what has brought libc into the process.
#![forbid(unsafe_code)]

use abi::notice::FRAME;

use crate::base::addr::{PageSize, RuntimeAddr, Vaddr};
use crate::base::arena::Arena;
use crate::elf::symbol::{Name, lookup};
use crate::error::{Errno, Error, OfObject, Problem};
use crate::link::file::{Mapped, map_object};
use crate::os::seam::{AddressSpace, Image};

/// The template's file, mapped.
pub struct NoticeFile<I> {
    /// Its memory.
    pub image: I,
    /// Address of its dynamic section, for debuggers.
    pub dynamic: RuntimeAddr,
    /// The return address at which backtraces end: after the first instruction of the function `NOTICE_FRAME`.
    pub frame: RuntimeAddr,
}

/// Maps the file. None of it is relocated or called; the function `NOTICE_FRAME` identifies the right file.
///
/// # Errors
/// The file can not be opened or is no library ([`Problem`] as in [`map_object`]); [`Problem::Map`] with ENOMEM if it
/// spans more than 64 KiB; [`Problem::NotCode`] without that function.
pub fn map_notice<'a, S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    path: &'a [u8],
    page: PageSize,
) -> Result<NoticeFile<S::Image>, Error<'a>> {
    /// Largest span in bytes. The template's file has two pages.
    const MOST: u64 = 64 << 10;
    let (file, info) = sys.open(path).of(path)?;
    let Mapped { dynamic, image, .. } = map_object(sys, arena, &file, &info, page).of(path)?;
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
    Ok(NoticeFile { image, dynamic, frame: bias.runtime(frame) })
}
