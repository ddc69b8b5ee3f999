//! A program that the kernel has mapped: what is to be done with it, and where it begins.
#![forbid(unsafe_code)]

use rtld::addr::RuntimeAddr;
use rtld::arena::Arena;
use rtld::command_line::Until;
use rtld::error::{Failure, Problem};
use rtld::invocation::Settings;
use rtld::load::Present;
use rtld::mapped::MappedImage;
use rtld::namespace::Module;
use rtld::note;
use rtld::seam::Image;
use rtld::search::ProgramPath;
use rtld::sys;

use super::command::Direct;
use super::kernel::Block;

/// The program's entry, which is code of its own.
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

/// What is to be done with a program that the kernel has mapped.
#[inline(never)]
pub(crate) fn direct(block: &Block, secure: bool, settings: &Settings) -> Result<Direct, Failure<'static>> {
    Ok(Direct {
        program: present_program(block, secure)?,
        path: program_path(block.exec_path(), secure),
        library_path: None,
        loader: None,
        until: if settings.list { Until::Loaded } else { Until::Ended },
    })
}

/// The program as the kernel mapped it; refused if its file ends before what is mapped of it.
fn present_program(block: &Block, secure: bool) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    let program = block.program()?;
    let plan = program.image.plan();
    // /proc makes its entries for a process when they are first asked for, which takes ten times as long as to ask for
    // the file that the kernel was given. That may be another by now, so it is not what refuses.
    let given = if secure { None } else { sys::file_size(block.exec_path()) };
    if given.is_some_and(|size| plan.require_file(size).is_ok()) {
        return Ok(program);
    }
    match sys::program_size() {
        Some(size) => plan.require_file(size).map(|()| program),
        None => Ok(program),
    }
}

/// The program's absolute path, or the one that the kernel was given if /proc does not tell.
fn program_path(given: &'static [u8], secure: bool) -> ProgramPath<'static> {
    if secure {
        return ProgramPath::Known(None);
    }
    let ask = |arena: &'static Arena| {
        let mut buffer = [0u8; 4096];
        sys::program_path(&mut buffer).map(|path| arena.copy(path)).transpose()
    };
    ProgramPath::Asked(ask, given.contains(&b'/').then_some(given))
}
