//! A program that the kernel has mapped: how it is started, and where its entry is.
#![forbid(unsafe_code)]

use core::mem::MaybeUninit;

use rtld::base::addr::{FileOffset, RuntimeAddr, Vaddr, from_usize};
use rtld::base::arena::Arena;
use rtld::base::limits::PATH_MAX;
use rtld::elf::note::{self, Stub};
use rtld::error::{Error, Failure, OfObject, Problem};
use rtld::link::load::{present, require_no_stray_note};
use rtld::link::namespace::Module;
use rtld::link::sealed::Sealed;
use rtld::link::search::ProgramPath;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{Files, Image};
use rtld::os::sys::{self, Linux};
use rtld::start::command_line::Until;
use rtld::start::invocation::Settings;

use crate::platform::image::LIBC_KNOWS_PROGRAM;
use crate::run::command::ProgramToRun;
use crate::run::kernel::Block;
use crate::run::open::debugger;

/// The program's entry, checked to be code of the program. Tells the debuggers' list of its stub, and of the loader itself
/// where that was executed.
pub(crate) fn entry(
    block: &Block,
    program: &Module<'static, MappedImage>,
    executed: bool,
) -> Result<RuntimeAddr, Failure<'static>> {
    let entry = block.auxiliary().entry().ok_or(Problem::LoadBias)?;
    let bias = program.image.bias();
    let entry = bias.vaddr(entry);
    let Stub { entry, changed } = note::stub(&program.image, entry).unwrap_or(Stub { entry, changed: None });
    // A tool that has moved code has made it wrong; only debuggers miss it.
    let changed = changed.filter(|vaddr| program.is_code(*vaddr)).map(|vaddr| bias.runtime(vaddr));
    // Where libc has started the loader, debuggers follow libc's list.
    debugger::set_up(executed && LIBC_KNOWS_PROGRAM, changed);
    if program.is_code(entry) {
        Ok(bias.runtime(entry))
    } else {
        Err(Problem::NotCode { what: "e_entry", vaddr: entry }.into())
    }
}

/// Whether the object that is to be looked at is no program: it names no interpreter, and says by 0 that it has no entry.
pub(crate) fn is_library(block: &Block, sealed: &Sealed<'static, MappedImage>) -> bool {
    let image = &sealed.namespace.module(0).image;
    block.auxiliary().entry() == Some(image.bias().runtime(Vaddr(0))) && block.interpreter(image).is_none()
}

/// The program that the kernel has mapped, with the circumstances of its start.
#[inline(never)]
pub(crate) fn program_to_run(
    block: &Block,
    arena: &'static Arena,
    secure: bool,
    settings: &Settings,
    is_late: bool,
) -> Result<ProgramToRun, Error<'static>> {
    let path = block.exec_path();
    let program = block.program(arena).of(path)?;
    // A program that runs has had its file; what is there now is another question.
    if !is_late {
        require_file(&program.image, path, secure).of(path)?;
    }
    let program = present(arena, program)?;
    if !is_late {
        require_no_stray_note(program).of(path)?;
    }
    Ok(ProgramToRun {
        program,
        path: program_path(path, secure),
        library_path: None,
        loader: None,
        until: if settings.list { Until::Loaded } else { Until::Ended },
        alone: false,
    })
}

/// Refuses a program whose file ends before the last byte that is mapped of it.
fn require_file(image: &MappedImage, given: &[u8], secure: bool) -> Result<(), Failure<'static>> {
    let plan = image.plan();
    // A stat of /proc/self/exe takes ten times as long as one of the path that the kernel was given, because /proc
    // makes its entries for a process when they are first used. The path may lead to another file by now, so that file
    // may accept the program, but not refuse it.
    let size = if secure { None } else { sys::file_size(given) };
    if size.is_some_and(|size| plan.require_file(size).is_ok()) {
        return Ok(());
    }
    let judged = sys::program_size().map_or(Ok(()), |size| plan.require_file(size));
    if judged.is_err() && !is_of_executed_file(image) {
        return Ok(());
    }
    judged
}

/// Whether the file that the kernel has executed begins as the program does. A packer has mapped another one, or memory, and
/// its own file says nothing of that. If the file can not be read, it is taken for the program's.
fn is_of_executed_file(image: &MappedImage) -> bool {
    let mut room = [const { MaybeUninit::uninit() }; 1024];
    let Ok((file, _)) = Linux.open(b"/proc/self/exe") else { return true };
    let Ok(head) = Linux.read_at(&file, FileOffset(0), &mut room) else { return true };
    let Some(start) = image.plan().vaddr_of(FileOffset(0)) else { return true };
    let size = image.file_backed(start).min(from_usize(head.len()));
    image.bytes(start, size).is_none_or(|bytes| head.starts_with(bytes))
}

/// The program's absolute path from /proc, or else the path that the kernel was given.
fn program_path(given: &'static [u8], secure: bool) -> ProgramPath<'static> {
    if secure {
        return ProgramPath::Known(None);
    }
    let ask = |arena: &'static Arena| {
        let mut buffer = [0u8; PATH_MAX];
        sys::program_path(&mut buffer).map(|path| arena.copy(path)).transpose()
    };
    ProgramPath::Asked(ask, given.contains(&b'/').then_some(given))
}
