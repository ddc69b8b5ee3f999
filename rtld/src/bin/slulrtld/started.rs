//! A program that the kernel has mapped: what is to be done with it, and where it begins.
#![forbid(unsafe_code)]

use rtld::addr::RuntimeAddr;
use rtld::arena::{Arena, OutOfMemory};
use rtld::command_line::Until;
use rtld::error::{Failure, Problem};
use rtld::invocation::Settings;
use rtld::load::Present;
use rtld::mapped::MappedImage;
use rtld::namespace::Module;
use rtld::note;
use rtld::seam::Image;
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
pub(crate) fn direct(
    block: &Block,
    arena: &'static Arena,
    secure: bool,
    settings: &Settings,
) -> Result<Direct, Failure<'static>> {
    Ok(Direct {
        program: present_program(block)?,
        path: program_path(arena, block.exec_path(), secure)?,
        library_path: None,
        loader: None,
        until: if settings.list { Until::Loaded } else { Until::Ended },
    })
}

/// The program as the kernel mapped it; refused if its file ends before what is mapped of it.
fn present_program(block: &Block) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    let program = block.program()?;
    match sys::program_size() {
        Some(size) => program.image.plan().require_file(size).map(|()| program),
        None => Ok(program),
    }
}

/// The program's absolute path, or the one that the kernel was given if /proc does not tell.
fn program_path(
    arena: &'static Arena,
    given: &'static [u8],
    secure: bool,
) -> Result<Option<&'static [u8]>, OutOfMemory> {
    if secure {
        return Ok(None);
    }
    let mut buffer = [0u8; 4096];
    match sys::program_path(&mut buffer) {
        Some(path) => arena.copy(path).map(Some),
        None => Ok(given.contains(&b'/').then_some(given)),
    }
}
