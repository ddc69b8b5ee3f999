//! A file becomes memory: its headers are read, a plan is made of them, and the plan is performed.
#![forbid(unsafe_code)]

use crate::base::addr::{FileOffset, PageSize, Vaddr, from_usize, to_usize};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::headers::{Headers, MAX_PHDRS};
use crate::elf::plan::{LoadPlan, Origin};
use crate::elf::{Decode, Ehdr, Phdr, consts, size};
use crate::error::{Failure, Problem};
use crate::os::seam::{AddressSpace, FileInfo, Image};

/// An object's file, mapped and judged sane, not yet part of anything.
pub struct Mapped<I> {
    /// Its tables.
    pub dynamic: DynamicInfo,
    /// Its memory.
    pub image: I,
    /// `e_entry`.
    pub entry: Vaddr,
    /// Where its program headers are in the file.
    pub headers: Headers,
}

/// Reads the headers of a library's open file, plans it and maps it.
pub fn map_object<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    map_file(sys, file, info, page, false)
}

/// The same, of a program, which may be ET_EXEC: that has to be where its addresses say.
pub fn map_program<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    map_file(sys, file, info, page, true)
}

fn map_file<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    program: bool,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    const BUFFER: usize = MAX_PHDRS as usize * size::PHDR;
    let mut buffer = [0u8; BUFFER];
    // Not beyond the end of a small file, where there would be a second call to hear of that.
    let start = buffer.get_mut(..to_usize(info.size.min(from_usize(BUFFER)))).unwrap_or_default();
    let read = sys.read_at(file, FileOffset(0), start).map_err(Problem::Read)?;
    let headers =
        Headers::parse::<<S::Image as Image>::Machine>(buffer.get(..read).unwrap_or_default(), info.size)?;
    let entry = Vaddr(Ehdr::decode(&buffer).e_entry);
    let fixed = headers.e_type == consts::ET_EXEC;
    if fixed && !program {
        return Err(Problem::Type(headers.e_type).into());
    }
    let start = to_usize(headers.phoff.0);
    let in_buffer = start.checked_add(headers.table_size()).filter(|&end| end <= read);
    let table = match in_buffer {
        Some(end) => buffer.get(start..end),
        None => {
            let table = buffer.get_mut(..headers.table_size()).unwrap_or_default();
            let read = sys.read_at(file, headers.phoff, table).map_err(Problem::Read)?;
            buffer.get(..read)
        }
    };
    // A file that shrank since fstat gives fewer headers; what is missing is missed below.
    let phdrs = table.unwrap_or_default().chunks_exact(size::PHDR).map(Phdr::decode);
    let plan = LoadPlan::new(phdrs, Origin::File { size: info.size, fixed }, page)?;
    let mut image = sys.reserve(&plan, file).map_err(Problem::Map)?;
    for segment in plan.segments() {
        sys.map_segment(&mut image, file, segment).map_err(Problem::Map)?;
    }
    let dynamic = match plan.dynamic {
        Some(place) => DynamicInfo::decode(&image, place)?,
        None if program => DynamicInfo::default(),
        None => return Err(Problem::NoDynamic.into()),
    };
    Ok(Mapped { dynamic, image, entry, headers })
}
