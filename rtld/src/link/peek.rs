//! The world of a library's file, told from a few hundred bytes of it, so that a native library is never mapped by the
//! loader.
//!
//! The rules for a mapped object are applied to [`Peek`], an [`Image`] of the bytes that were read. If a rule asks for
//! a byte that was not read, it gets none, and its answer does not count: the byte is read, and the rule applied again.
//! After a few reads the file is mapped, and the rules are applied to the mapping. So both ways give the same answer.
//!
//! Two reads are enough if the strings of DT_NEEDED are near the start of the file, three otherwise.
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::marker::PhantomData;

use abi::libcs::Libc;
use abi::note::AbiNote;

use crate::base::addr::{LoadBias, PageSize, Vaddr, from_usize, to_usize};
use crate::base::arena::Arena;
use crate::elf::dynamic::DynamicInfo;
use crate::elf::note::abi_note;
use crate::elf::plan::{LoadPlan, PlanRoom, Segment};
use crate::elf::symbol::{Name, lookup_hashed};
use crate::elf::{consts, gnu_hash};
use crate::error::{Failure, Problem};
use crate::link::excerpts::{Excerpts, LEAST, Missing, room};
use crate::link::file::{Mapped, Planned};
use crate::machine::{Machine, Native};
use crate::os::seam::{AddressSpace, FileInfo, Image};

/// Largest object in bytes, alignment included, that is judged without being mapped. The kernel decides whether there
/// is room for a larger one.
const LARGEST: u64 = 64 << 20;

/// An object that is not mapped: its plan, and the bytes that were read of its file.
struct Peek<'p, 'b, M> {
    plan: &'p LoadPlan<'p>,
    excerpts: &'p Excerpts<'b>,
    /// The first bytes that were asked for and not read. Answers given since then do not count.
    missing: Cell<Option<Missing>>,
    machine: PhantomData<M>,
}

impl<'p, 'b, M> Peek<'p, 'b, M> {
    const fn new(plan: &'p LoadPlan<'p>, excerpts: &'p Excerpts<'b>) -> Self {
        Self { plan, excerpts, missing: Cell::new(None), machine: PhantomData }
    }

    fn miss<T>(&self, offset: u64, len: u64) -> Option<T> {
        self.missing.set(self.missing.get().or(Some(Missing { offset, len })));
        None
    }

    /// The readable segment that contains these bytes, and the offset of the first one in the file.
    fn place(&self, vaddr: Vaddr, len: u64) -> Option<(&Segment, u64)> {
        let segment = self.plan.segment_of(vaddr, len).filter(|segment| segment.protection.read)?;
        let into = vaddr.0.wrapping_sub(segment.pages().start.0);
        Some((segment, segment.offset.0.wrapping_add(into)))
    }
}

impl<M: Machine> Image for Peek<'_, '_, M> {
    type Machine = M;

    fn plan(&self) -> &LoadPlan<'_> {
        self.plan
    }

    fn bias(&self) -> LoadBias {
        LoadBias(0)
    }

    fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        let (segment, offset) = self.place(vaddr, len)?;
        if len == 0 {
            return Some(&[]);
        }
        // The zeros after the bytes from the file are not read.
        let is_in_file = segment.data_end.0.saturating_sub(vaddr.0) >= len;
        let read = self.excerpts.get(offset, to_usize(len)).filter(|_| is_in_file);
        read.or_else(|| self.miss(offset, len))
    }

    fn string(&self, vaddr: Vaddr, limit: u64) -> Option<&[u8]> {
        let (segment, offset) = self.place(vaddr, limit)?;
        let from_file = limit.min(segment.data_end.0.saturating_sub(vaddr.0));
        match self.excerpts.string(offset, to_usize(from_file)) {
            Some(string) => Some(string.to_bytes()),
            // All bytes are known, and there is no NUL among them.
            None if from_file == limit && self.excerpts.get(offset, to_usize(limit)).is_some() => None,
            None => self.miss(offset, limit.min(from_usize(LEAST))),
        }
    }

    fn holds(&self, vaddr: Vaddr, len: u64) -> bool {
        self.place(vaddr, len).is_some()
    }
}

/// The facts that decide to which world an object belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Its ABI note.
    pub note: Option<AbiNote>,
    /// The first libc in its DT_NEEDED. Not determined for an object with an ABI note.
    pub libc: Option<Libc>,
}

/// A rule, applied to an object. It may be asked several times; the last answer counts.
type Question<'q> = &'q mut dyn FnMut(&dyn Image, &DynamicInfo) -> Result<Nature, Failure<'static>>;

/// One file, one world: an object with the ABI note is a library, whatever it needs; one without is native if it names
/// a libc.
fn nature(image: &dyn Image, dynamic: &DynamicInfo) -> Result<Nature, Failure<'static>> {
    let note = abi_note(image)?;
    let libc = if note.is_none() { needs_libc(image, dynamic)? } else { None };
    Ok(Nature { note, libc })
}

/// The libc for which an object is built: the first one that it names in its DT_NEEDED; `None` if it names none.
///
/// # Errors
/// [`Problem::BadString`] for a DT_NEEDED name, before that, that is not in the string table.
pub fn needs_libc(image: &dyn Image, dynamic: &DynamicInfo) -> Result<Option<Libc>, Failure<'static>> {
    for offset in dynamic.values(image, consts::DT_NEEDED) {
        // A name that is too long for a file is that of no libc.
        match dynamic.strings.file_name(image, offset) {
            Ok(name) if Libc::named_by(name).is_some() => return Ok(Libc::named_by(name)),
            Err(failure) if !matches!(*failure, Problem::LongName { .. }) => return Err(failure),
            _ => {}
        }
    }
    Ok(None)
}

/// Applies `question` to a planned file, and leaves its decoded PT_DYNAMIC in `dynamic`. `None` if the file must be
/// mapped for an answer.
fn peek<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    plan: &LoadPlan<'_>,
    excerpts: &mut Excerpts<'_>,
    question: Question<'_>,
    dynamic: &mut DynamicInfo,
) -> Result<Option<Nature>, Failure<'static>> {
    let Some(section) = plan.dynamic else { return Err(Problem::NoDynamic.into()) };
    if plan.span.len().saturating_add(plan.align) > LARGEST {
        return Ok(None);
    }
    loop {
        let image = Peek::<<S::Image as Image>::Machine>::new(plan, excerpts);
        // Asked for first, because it is rarely among the bytes that were read; so no error is made for nothing.
        if image.bytes(section.vaddr, section.size & !0xf).is_some() {
            let decoded = dynamic.decode_again(&image, section);
            let answer = decoded.and_then(|()| question(&image, dynamic));
            if image.missing.get().is_none() {
                return answer.map(Some);
            }
        }
        let Some(missing) = image.missing.get() else { return Ok(None) };
        if !excerpts.complete(sys, file, missing, info.size).map_err(Problem::Read)? {
            return Ok(None);
        }
    }
}

/// The world of a library's file.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and the loader has no heap")]
pub enum Kind<I> {
    /// Native, built for that libc.
    Native(Libc),
    /// libc-free and mapped; with its ABI note.
    Library(Mapped<I>, Option<AbiNote>),
}

/// The expectation about a file before it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// No object has named a libc so far: a library is most likely libc-free, and is mapped without further reads.
    OursOnly,
    /// Native libraries are likely.
    Natives,
}

/// Judges a library's open file, and maps it if it is libc-free.
///
/// # Errors
/// [`Problem::Read`] or [`Problem::Map`] with the kernel's error number; otherwise the fault of its headers, its
/// PT_DYNAMIC or its notes.
pub fn judge<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    outlook: Outlook,
) -> Result<Kind<S::Image>, Failure<'static>> {
    ask(sys, arena, file, info, page, outlook, &mut nature)
}

/// The libc for which a native library's open file is built.
///
/// # Errors
/// [`Problem::Read`], or [`Problem::Map`] if it must be mapped; otherwise the fault of its headers or its PT_DYNAMIC.
pub fn libc_of<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Option<Libc>, Failure<'static>> {
    let mut question =
        |image: &dyn Image, dynamic: &DynamicInfo| Ok(Nature { note: None, libc: needs_libc(image, dynamic)? });
    let kind = ask(sys, arena, file, info, page, Outlook::Natives, &mut question)?;
    Ok(if let Kind::Native(libc) = kind { Some(libc) } else { None })
}

/// Shows an open file to `look`, which copies what it wants to know; the last time that it is called counts.
///
/// # Errors
/// That of `look`, [`Problem::Read`], or [`Problem::Map`] if the file must be mapped; otherwise the fault of its headers or
/// its PT_DYNAMIC.
pub fn tell<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    look: &mut dyn FnMut(&dyn Image, &DynamicInfo) -> Result<(), Failure<'static>>,
) -> Result<(), Failure<'static>> {
    // As a native one, it is not kept.
    let mut question = |image: &dyn Image, dynamic: &DynamicInfo| {
        look(image, dynamic)?;
        Ok(Nature { note: None, libc: Some(Libc::Gnu) })
    };
    ask(sys, arena, file, info, page, Outlook::Natives, &mut question).map(|_| ())
}

#[inline(never)]
fn ask<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    outlook: Outlook,
    question: Question<'_>,
) -> Result<Kind<S::Image>, Failure<'static>> {
    let (mut room, mut plan_room) = (room(), PlanRoom::new());
    let mut excerpts = Excerpts::new(&mut room);
    let mut planned = Planned::NOTHING;
    planned.read(sys, file, info, page, false, (&mut excerpts, &mut plan_room))?;
    let mut dynamic = DynamicInfo::default();
    let peeked = if outlook == Outlook::OursOnly || says_library(&planned.plan, &excerpts) {
        None
    } else {
        peek(sys, file, info, &planned.plan, &mut excerpts, &mut *question, &mut dynamic)?
    };
    if let Some(Nature { libc: Some(libc), .. }) = peeked {
        return Ok(Kind::Native(libc));
    }
    let mapped = planned.map(sys, arena, file, peeked.is_some().then_some(&dynamic))?;
    let Nature { note, libc } = match peeked {
        Some(nature) => nature,
        None => question(&mapped.image, &mapped.dynamic)?,
    };
    let libc = if note.is_none() && libc.is_none() && is_musl(&mapped.image, &mapped.dynamic)? {
        Some(Libc::Musl)
    } else {
        libc
    };
    Ok(libc.map_or(Kind::Library(mapped, note), Kind::Native))
}

/// Whether an object that names no libc is one: musl's has no soname, so that a link by its path records that. It needs nothing,
/// while a library that happens to define the name needs the loader, or what else it calls. (glibc's names its ld.so.)
///
/// # Errors
/// A table that the lookup reads is broken.
#[inline(never)]
pub fn is_musl<I: Image>(image: &I, dynamic: &DynamicInfo) -> Result<bool, Failure<'static>> {
    let start = Name::new(b"__libc_start_main");
    let needs = dynamic.values(image, consts::DT_NEEDED).next().is_some();
    Ok(!needs && lookup_hashed(image, dynamic, &start, gnu_hash(start.bytes), &mut 0)?.is_some())
}

/// Whether the first bytes of a file contain the ABI note. Then nothing else needs to be known before it is mapped.
fn says_library(plan: &LoadPlan<'_>, excerpts: &Excerpts<'_>) -> bool {
    let image = Peek::<Native>::new(plan, excerpts);
    let note = abi_note(&image);
    image.missing.get().is_none() && matches!(note, Ok(Some(_)))
}
