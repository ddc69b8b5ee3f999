//! A file becomes memory: headers, plan, mapping, dynamic section.
#![forbid(unsafe_code)]

use core::mem::MaybeUninit;

use crate::base::addr::{FileOffset, PageSize, Vaddr};
use crate::elf::dynamic::DynamicInfo;
use crate::elf::headers::{Headers, MAX_PHDRS};
use crate::elf::plan::{LoadPlan, Origin};
use crate::elf::{Decode, Ehdr, Phdr, consts, size};
use crate::error::{Failure, Problem};
use crate::link::excerpts::{Excerpts, room};
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
///
/// # Errors
/// What is wrong with its headers or its dynamic section; or reading or mapping it fails.
pub fn map_object<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    map_file(sys, file, info, page, false)
}

/// Maps a program, which may be ET_EXEC: that has to be where its addresses say.
///
/// # Errors
/// As of [`map_object`].
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
    let mut room = room();
    let mut planned = Planned::NOTHING;
    planned.read(sys, file, info, page, program, &mut Excerpts::new(&mut room))?;
    planned.map(sys, file, None)
}

/// What a file is to become.
pub(crate) struct Planned {
    headers: Headers,
    /// `e_entry`.
    entry: Vaddr,
    pub(crate) plan: LoadPlan,
    /// Whether it is a program, which needs no dynamic section.
    program: bool,
}

impl Planned {
    /// Nothing yet.
    pub(crate) const NOTHING: Self = Self {
        headers: Headers { e_type: 0, phoff: FileOffset(0), phnum: 0 },
        entry: Vaddr(0),
        plan: LoadPlan::EMPTY,
        program: false,
    };

    /// Reads the headers of an open file, and plans it. What is read stays in `excerpts`.
    ///
    /// # Errors
    /// What is wrong with its headers; or reading it fails.
    pub(crate) fn read<S: AddressSpace>(
        &mut self,
        sys: &S,
        file: &S::File,
        info: &FileInfo,
        page: PageSize,
        program: bool,
        excerpts: &mut Excerpts<'_>,
    ) -> Result<(), Failure<'static>> {
        let head = excerpts.head(sys, file, info.size).map_err(Problem::Read)?;
        let headers = Headers::parse::<<S::Image as Image>::Machine>(head, info.size)?;
        let fixed = headers.e_type == consts::ET_EXEC;
        if fixed && !program {
            return Err(Problem::Type(headers.e_type).into());
        }
        self.headers = headers;
        self.entry = Vaddr(Ehdr::decode(head).e_entry);
        self.program = program;
        let origin = Origin::File { size: info.size, fixed };
        match excerpts.get(headers.phoff.0, headers.table_size()) {
            Some(table) => self.make(table, origin, page),
            None => self.read_elsewhere(sys, file, origin, page),
        }
    }

    /// Plans a file whose program headers are not near its start: patchelf(1) puts them at the end.
    #[cold]
    #[inline(never)]
    fn read_elsewhere<S: AddressSpace>(
        &mut self,
        sys: &S,
        file: &S::File,
        origin: Origin,
        page: PageSize,
    ) -> Result<(), Failure<'static>> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_PHDRS as usize * size::PHDR];
        let room = room.get_mut(..self.headers.table_size()).unwrap_or_default();
        // A file that shrank since fstat gives fewer headers; what is missing is missed below.
        let table = sys.read_at(file, self.headers.phoff, room).map_err(Problem::Read)?;
        self.make(table, origin, page)
    }

    #[inline(never)]
    fn make(&mut self, table: &[u8], origin: Origin, page: PageSize) -> Result<(), Failure<'static>> {
        self.plan.make(table.chunks_exact(size::PHDR).map(Phdr::decode), origin, page)
    }

    /// Maps what was planned. What its dynamic section says may be known already.
    ///
    /// # Errors
    /// Mapping it fails, or something is wrong with its dynamic section.
    pub(crate) fn map<S: AddressSpace>(
        &self,
        sys: &S,
        file: &S::File,
        dynamic: Option<&DynamicInfo>,
    ) -> Result<Mapped<S::Image>, Failure<'static>> {
        let &Self { headers, entry, ref plan, program } = self;
        let mut image = sys.reserve(plan, file).map_err(Problem::Map)?;
        for segment in plan.segments() {
            sys.map_segment(&mut image, file, segment).map_err(Problem::Map)?;
        }
        let dynamic = match (dynamic, plan.dynamic) {
            (Some(dynamic), _) => *dynamic,
            (None, Some(place)) => DynamicInfo::decode(&image, place)?,
            (None, None) if program => DynamicInfo::default(),
            (None, None) => return Err(Problem::NoDynamic.into()),
        };
        Ok(Mapped { dynamic, image, entry, headers })
    }
}
