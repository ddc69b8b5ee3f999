//! The way of a file into memory: its headers are read, a plan is made of them, the plan is performed, and PT_DYNAMIC
//! is decoded.
#![forbid(unsafe_code)]

use core::mem::MaybeUninit;

use crate::base::addr::{FileOffset, PageSize, Vaddr};
use crate::base::arena::Arena;
use crate::elf::dynamic::{DynamicInfo, Entries};
use crate::elf::headers::{Headers, MAX_PHDRS};
use crate::elf::note::{abi_note, stub};
use crate::elf::plan::{LoadPlan, Origin, PlanRoom};
use crate::elf::{Decode, Ehdr, Phdr, Rela, consts, r_sym, size};
use crate::error::{Failure, Problem};
use crate::link::excerpts::{Excerpts, room};
use crate::os::seam::{AddressSpace, FileInfo, Image};

/// An object's file, mapped and checked, which is not part of a namespace yet.
pub struct Mapped<I> {
    /// Its decoded PT_DYNAMIC.
    pub dynamic: DynamicInfo,
    /// Its memory.
    pub image: I,
    /// `e_entry`.
    pub entry: Vaddr,
    /// Its checked ELF header.
    pub headers: Headers,
}

impl<I: Image> Mapped<I> {
    /// Whether a program without PT_INTERP leaves nothing to a loader but to be mapped, as static executables and PIEs do, whose
    /// own start relocates and seals them: it needs no library, refers to no symbol, and has neither an ABI note nor a stub.
    ///
    /// # Errors
    /// Those of [`abi_note`].
    pub fn is_self_contained(&self) -> Result<bool, Failure<'static>> {
        let Self { dynamic, image, entry, .. } = self;
        let refers = |table: Entries<Rela>| {
            let mut entries = (0..table.len()).filter_map(|index| table.get(image, index));
            entries.any(|rela| r_sym(&rela) != 0)
        };
        let ours = dynamic.called || abi_note(image)?.is_some() || stub(image, *entry).is_some();
        let needs = dynamic.values(image, consts::DT_NEEDED).next().is_some();
        Ok(!ours && !needs && !refers(dynamic.rela) && !refers(dynamic.jmprel))
    }
}

/// Reads the headers of a library's open file, plans the mappings, and maps it.
///
/// # Errors
/// [`Problem::Read`] or [`Problem::Map`] with the kernel's error number; otherwise the fault of its headers
/// ([`Headers::parse`], [`LoadPlan::new`]; [`Problem::Type`] for ET_EXEC) or of its PT_DYNAMIC
/// ([`DynamicInfo::decode`], [`Problem::NoDynamic`]).
pub fn map_object<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    map_file(sys, arena, file, info, page, false)
}

/// Maps a program's open file like [`map_object`]. A program may be ET_EXEC, which is mapped at its own addresses, and
/// may lack PT_DYNAMIC.
///
/// # Errors
/// Those of [`map_object`], without [`Problem::Type`] and [`Problem::NoDynamic`].
pub fn map_program<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    map_file(sys, arena, file, info, page, true)
}

fn map_file<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    program: bool,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    let (mut room, mut plan_room) = (room(), PlanRoom::new());
    let mut planned = Planned::NOTHING;
    planned.read(sys, file, info, page, program, (&mut Excerpts::new(&mut room), &mut plan_room))?;
    planned.map(sys, arena, file, None)
}

/// The plan of a file's mappings, with the headers that it was made of.
pub(crate) struct Planned<'p> {
    headers: Headers,
    /// `e_entry`.
    entry: Vaddr,
    pub(crate) plan: LoadPlan<'p>,
    /// Whether the file is a program, which may lack PT_DYNAMIC.
    program: bool,
}

impl<'p> Planned<'p> {
    /// An empty plan.
    pub(crate) const NOTHING: Self = Self {
        headers: Headers { e_type: 0, phoff: FileOffset(0), phnum: 0 },
        entry: Vaddr(0),
        plan: LoadPlan::EMPTY,
        program: false,
    };

    /// Reads the headers of an open file and plans its mappings. The bytes that were read stay in `excerpts`, and what
    /// the plan refers to in `room`.
    ///
    /// # Errors
    /// [`Problem::Read`], or the fault of its headers.
    pub(crate) fn read<S: AddressSpace>(
        &mut self,
        sys: &S,
        file: &S::File,
        info: &FileInfo,
        page: PageSize,
        program: bool,
        (excerpts, room): (&mut Excerpts<'_>, &'p mut PlanRoom),
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
            Some(table) => self.make(table, origin, page, room),
            None => self.read_elsewhere(sys, file, origin, page, room),
        }
    }

    /// Plans a file whose program headers are not near its start: patchelf(1) moves them to the end.
    #[cold]
    #[inline(never)]
    fn read_elsewhere<S: AddressSpace>(
        &mut self,
        sys: &S,
        file: &S::File,
        origin: Origin,
        page: PageSize,
        plan_room: &'p mut PlanRoom,
    ) -> Result<(), Failure<'static>> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_PHDRS as usize * size::PHDR];
        let room = room.get_mut(..self.headers.table_size()).unwrap_or_default();
        // A file that shrank since fstat has fewer headers; missing segments are noticed below.
        let table = sys.read_at(file, self.headers.phoff, room).map_err(Problem::Read)?;
        self.make(table, origin, page, plan_room)
    }

    #[inline(never)]
    fn make(
        &mut self,
        table: &[u8],
        origin: Origin,
        page: PageSize,
        room: &'p mut PlanRoom,
    ) -> Result<(), Failure<'static>> {
        self.plan.make(table.chunks_exact(size::PHDR).map(Phdr::decode), origin, page, room)
    }

    /// Maps the file by the plan, which is kept in `arena`. `dynamic` is its decoded PT_DYNAMIC, if that is known.
    ///
    /// # Errors
    /// [`Problem::Map`], or the fault of its PT_DYNAMIC; out of memory.
    pub(crate) fn map<S: AddressSpace>(
        &self,
        sys: &S,
        arena: &'static Arena,
        file: &S::File,
        dynamic: Option<&DynamicInfo>,
    ) -> Result<Mapped<S::Image>, Failure<'static>> {
        let &Self { headers, entry, ref plan, program } = self;
        let mut image = sys.reserve(&plan.keep(arena)?, file).map_err(Problem::Map)?;
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
