//! What kind of object a file is, told from a few hundred bytes of it, so that a native library is never mapped here.
//!
//! The rules that judge a mapped object judge [`Peek`], an [`Image`] over the bytes that were read. A rule that wants a
//! byte which was not read gets none, and the answer does not count: the byte is read, and the rule asked again. After a
//! few reads the file is mapped, and judged as a mapped object. So both ways give one answer.
//!
//! Two reads are enough where the strings that DT_NEEDED means are near the start of the file, three elsewhere.
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::marker::PhantomData;

use abi::libcs::Libc;
use abi::note::AbiNote;

use crate::base::addr::{LoadBias, PageSize, Vaddr, from_usize, to_usize};
use crate::elf::consts;
use crate::elf::dynamic::DynamicInfo;
use crate::elf::note::abi_note;
use crate::elf::plan::{LoadPlan, Segment};
use crate::error::{Failure, Problem};
use crate::link::excerpts::{Excerpts, LEAST, Missing, room};
use crate::link::file::{Mapped, Planned};
use crate::machine::{Machine, Native};
use crate::os::seam::{AddressSpace, FileInfo, Image};

/// Largest object in bytes, alignment included, that is judged without being mapped: whether there is room for a larger
/// one is for the kernel to say.
const LARGEST: u64 = 64 << 20;

/// An object that is not mapped: its plan, and what was read of its file.
struct Peek<'p, 'b, M> {
    plan: &'p LoadPlan,
    excerpts: &'p Excerpts<'b>,
    /// The first bytes that were asked for in vain. Answers that were given since do not count.
    missing: Cell<Option<Missing>>,
    machine: PhantomData<M>,
}

impl<'p, 'b, M> Peek<'p, 'b, M> {
    const fn new(plan: &'p LoadPlan, excerpts: &'p Excerpts<'b>) -> Self {
        Self { plan, excerpts, missing: Cell::new(None), machine: PhantomData }
    }

    fn miss<T>(&self, offset: u64, len: u64) -> Option<T> {
        self.missing.set(self.missing.get().or(Some(Missing { offset, len })));
        None
    }

    /// The readable segment that holds these bytes, and where in the file the first is.
    fn place(&self, vaddr: Vaddr, len: u64) -> Option<(&Segment, u64)> {
        let segment = self.plan.segment_of(vaddr, len).filter(|segment| segment.protection.read)?;
        let into = vaddr.0.wrapping_sub(segment.pages().start.0);
        Some((segment, segment.offset.0.wrapping_add(into)))
    }
}

impl<M: Machine> Image for Peek<'_, '_, M> {
    type Machine = M;

    fn plan(&self) -> &LoadPlan {
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
        // Zeros that no file has are not looked for either.
        let is_in_file = segment.data_end.0.saturating_sub(vaddr.0) >= len;
        let read = self.excerpts.get(offset, to_usize(len)).filter(|_| is_in_file);
        read.or_else(|| self.miss(offset, len))
    }

    fn string(&self, vaddr: Vaddr, limit: u64) -> Option<&[u8]> {
        let (segment, offset) = self.place(vaddr, limit)?;
        let from_file = limit.min(segment.data_end.0.saturating_sub(vaddr.0));
        match self.excerpts.string(offset, to_usize(from_file)) {
            Some(string) => Some(string.to_bytes()),
            // There is none, and all that could be one is known.
            None if from_file == limit && self.excerpts.get(offset, to_usize(limit)).is_some() => None,
            None => self.miss(offset, limit.min(from_usize(LEAST))),
        }
    }

    fn holds(&self, vaddr: Vaddr, len: u64) -> bool {
        self.place(vaddr, len).is_some()
    }
}

/// What decides which world an object is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Its ABI note.
    pub note: Option<AbiNote>,
    /// The first libc that it names in its DT_NEEDED. Not asked for where there is a note.
    pub libc: Option<Libc>,
}

/// What is asked of an object.
type Question = fn(&dyn Image, &DynamicInfo) -> Result<Nature, Failure<'static>>;

/// One file, one world: with the ABI note it is a library whatever it names, without one it is native if it names a libc.
fn nature(image: &dyn Image, dynamic: &DynamicInfo) -> Result<Nature, Failure<'static>> {
    let note = abi_note(image)?;
    let libc = if note.is_none() { needs_libc(image, dynamic)? } else { None };
    Ok(Nature { note, libc })
}

/// Whether an object is built for a libc: it names one in its DT_NEEDED. Which, if so.
///
/// # Errors
/// A DT_NEEDED before that is no string of DT_STRTAB.
pub fn needs_libc(image: &dyn Image, dynamic: &DynamicInfo) -> Result<Option<Libc>, Failure<'static>> {
    for offset in dynamic.values(image, consts::DT_NEEDED) {
        if let Some(libc) = Libc::named_by(dynamic.strings.get(image, offset)?) {
            return Ok(Some(libc));
        }
    }
    Ok(None)
}

/// Asks `question` of a file that is planned, and leaves its dynamic section, decoded. `None` if it has to be mapped for
/// an answer.
fn peek<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    plan: &LoadPlan,
    excerpts: &mut Excerpts<'_>,
    question: Question,
    dynamic: &mut DynamicInfo,
) -> Result<Option<Nature>, Failure<'static>> {
    let Some(section) = plan.dynamic else { return Err(Problem::NoDynamic.into()) };
    if plan.span.len().saturating_add(plan.align) > LARGEST {
        return Ok(None);
    }
    loop {
        let image = Peek::<<S::Image as Image>::Machine>::new(plan, excerpts);
        // Asked for first, and without a word of failure: it is seldom in what was read.
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

/// What a library's file turned out to be.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and the loader has no heap")]
pub enum Kind<I> {
    /// Of libc's world, and built for that libc.
    Native(Libc),
    /// libc-free, and mapped.
    Library(Mapped<I>, Option<AbiNote>),
}

/// What is known of a process before a file is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing has named a libc so far: a library is libc-free, most likely, and mapped at once, without a read more.
    OursOnly,
    /// Native libraries are to be met.
    Natives,
}

/// Judges a library's open file, and maps it if it is libc-free.
///
/// # Errors
/// What is wrong with its headers, its dynamic section or its notes; or reading or mapping it fails.
pub fn judge<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    outlook: Outlook,
) -> Result<Kind<S::Image>, Failure<'static>> {
    ask(sys, file, info, page, outlook, nature)
}

/// The libc that a native library's open file is built for.
///
/// # Errors
/// Reading it fails, or mapping it where that is needed, or something is wrong with its headers or its dynamic section.
pub fn libc_of<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
) -> Result<Option<Libc>, Failure<'static>> {
    let question: Question = |image, dynamic| Ok(Nature { note: None, libc: needs_libc(image, dynamic)? });
    let kind = ask(sys, file, info, page, Outlook::Natives, question)?;
    Ok(if let Kind::Native(libc) = kind { Some(libc) } else { None })
}

#[inline(never)]
fn ask<S: AddressSpace>(
    sys: &S,
    file: &S::File,
    info: &FileInfo,
    page: PageSize,
    outlook: Outlook,
    question: Question,
) -> Result<Kind<S::Image>, Failure<'static>> {
    let mut room = room();
    let mut excerpts = Excerpts::new(&mut room);
    let mut planned = Planned::NOTHING;
    planned.read(sys, file, info, page, false, &mut excerpts)?;
    let mut dynamic = DynamicInfo::default();
    let peeked = if outlook == Outlook::OursOnly || says_library(&planned.plan, &excerpts) {
        None
    } else {
        peek(sys, file, info, &planned.plan, &mut excerpts, question, &mut dynamic)?
    };
    if let Some(Nature { libc: Some(libc), .. }) = peeked {
        return Ok(Kind::Native(libc));
    }
    let mapped = planned.map(sys, file, peeked.is_some().then_some(&dynamic))?;
    let Nature { note, libc } = match peeked {
        Some(nature) => nature,
        None => question(&mapped.image, &mapped.dynamic)?,
    };
    Ok(libc.map_or(Kind::Library(mapped, note), Kind::Native))
}

/// Whether the head of a file has the ABI note: then there is no need to look for anything else before it is mapped.
fn says_library(plan: &LoadPlan, excerpts: &Excerpts<'_>) -> bool {
    let image = Peek::<Native>::new(plan, excerpts);
    let note = abi_note(&image);
    image.missing.get().is_none() && matches!(note, Ok(Some(_)))
}
