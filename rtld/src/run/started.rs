//! A program that the kernel has mapped: how it is started, and where its entry is.
#![forbid(unsafe_code)]

use rtld::base::addr::RuntimeAddr;
use rtld::base::arena::Arena;
use rtld::elf::note;
use rtld::elf::plan::LoadPlan;
use rtld::error::{Error, Failure, OfObject, Problem};
use rtld::link::load::present;
use rtld::link::namespace::Module;
use rtld::link::search::ProgramPath;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys;
use rtld::start::command_line::Until;
use rtld::start::invocation::Settings;

use crate::run::command::ProgramToRun;
use crate::run::kernel::Block;

/// The program's entry, checked to be code of the program.
pub(crate) fn entry(
    block: &Block,
    program: &Module<'static, MappedImage>,
) -> Result<RuntimeAddr, Failure<'static>> {
    let entry = block.auxiliary().entry().ok_or(Problem::LoadBias)?;
    let bias = program.image.bias();
    let vaddr = note::entry_behind_stub(&program.image).unwrap_or_else(|| bias.vaddr(entry));
    if program.is_code(vaddr) {
        Ok(bias.runtime(vaddr))
    } else {
        Err(Problem::NotCode { what: "e_entry", vaddr }.into())
    }
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
    let program = block.program().of(path)?;
    // A program that runs has had its file; what is there now is another question.
    if !is_late {
        require_file(program.image.plan(), path, secure).of(path)?;
    }
    Ok(ProgramToRun {
        program: present(arena, program)?,
        path: program_path(path, secure),
        library_path: None,
        loader: None,
        until: if settings.list { Until::Loaded } else { Until::Ended },
    })
}

/// Refuses a program whose file ends before the last byte that is mapped of it.
fn require_file(plan: &LoadPlan, given: &[u8], secure: bool) -> Result<(), Failure<'static>> {
    // A stat of /proc/self/exe takes ten times as long as one of the path that the kernel was given, because /proc
    // makes its entries for a process when they are first used. The path may lead to another file by now, so that file
    // may accept the program, but not refuse it.
    let size = if secure { None } else { sys::file_size(given) };
    if size.is_some_and(|size| plan.require_file(size).is_ok()) {
        return Ok(());
    }
    sys::program_size().map_or(Ok(()), |size| plan.require_file(size))
}

/// The program's absolute path from /proc, or else the path that the kernel was given.
fn program_path(given: &'static [u8], secure: bool) -> ProgramPath<'static> {
    if secure {
        return ProgramPath::Known(None);
    }
    let ask = |arena: &'static Arena| {
        let mut buffer = [0u8; sys::PATH_MAX];
        sys::program_path(&mut buffer).map(|path| arena.copy(path)).transpose()
    };
    ProgramPath::Asked(ask, given.contains(&b'/').then_some(given))
}
