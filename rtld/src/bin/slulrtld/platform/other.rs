//! `slulrtld-using-libc`, the other program that can run the program, where the environment forbids bogomapping.
//!
//! # Safety
//! This file exists because that program is executed, with lists of addresses as its arguments.
#![allow(unsafe_code)]

use abi::libcs::{PASSED, PASSED_LIBRARY_PATH, PASSED_PROGRAM};
use libc_template::is_masked_variable;
use rtld::base::addr::RuntimeAddr;
use rtld::base::arena::{List, OutOfMemory};
use rtld::error::{Errno, Error, OfObject, Problem};
use rtld::start::installed::installed;

use crate::cpu::number::EXECVE;
use crate::platform::choice::choose_libc;
use crate::run::cpu::calls::system_call;
use crate::run::kernel::{is_variable, text};
use crate::run::native::gather::native_search;
use crate::run::process::Process;

/// Executes `slulrtld-using-libc` in place of this process, for the program's path. Returns only if that fails.
pub(crate) fn leave_to_other(process: &Process) -> Result<(), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let loader = process.sealed.namespace.loader().map_or(&b""[..], |loader| loader.path);
    let (libc, _) = choose_libc(process, native_search(process).of(program)?, &[])?;
    let path = installed(process.arena, loader, process.secure, libc.loader_using_it()).of(loader)?;
    let arguments = arguments(process, path).of(program)?;
    let variables = variables(process).of(program)?;
    process.watch.end();
    let [path_word, arguments, variables] = [
        path.as_ptr().expose_provenance(),
        arguments.as_ptr().expose_provenance(),
        variables.as_ptr().expose_provenance(),
    ];
    let words = [path_word, arguments, variables, 0];
    // SAFETY: a path, and two lists of strings, each with a final 0.
    let result = unsafe { system_call(EXECVE, words) };
    let errno = Errno(i32::try_from(result.wrapping_neg()).unwrap_or(0));
    Err(Problem::UsingLibc(errno)).of(path.strip_suffix(b"\0").unwrap_or(path))
}

/// The environment. What would make ld.so do something else than start that program is passed on under another name. The program's
/// path is in a variable, so that the arguments are the program's: natives' initialisers get those, and /proc shows them.
fn variables(process: &Process) -> Result<List<'static, u64>, OutOfMemory> {
    let (arena, layout, words) = (process.arena, process.block.layout(), process.block.words());
    let mut list = List::new(arena);
    let mut put = |parts: &[&[u8]]| list.push(RuntimeAddr::of(arena.concat(parts)?.as_ptr()).0);
    if layout.argc != 0 {
        put(&[PASSED_PROGRAM, process.sealed.namespace.module(0).path, b"\0"])?;
        if let Some(library_path) = process.settings.library_path {
            put(&[PASSED_LIBRARY_PATH, library_path, b"\0"])?;
        }
    }
    for &address in layout.environment(words) {
        if is_variable(address, is_masked_variable) {
            list.push(RuntimeAddr::of(arena.concat(&[PASSED, text(address), b"\0"])?.as_ptr()).0)?;
        } else if !is_variable(address, is_passed) {
            list.push(address)?;
        }
    }
    list.push(0)?;
    Ok(list)
}

/// Whether a variable is one of those that the loader passes.
fn is_passed(variable: &[u8]) -> bool {
    variable.starts_with(PASSED_PROGRAM) || variable.starts_with(PASSED_LIBRARY_PATH)
}

/// The command line: the program's own. Without any argument, which Linux no longer lets a program have, it names the program.
fn arguments(process: &Process, path: &[u8]) -> Result<List<'static, u64>, OutOfMemory> {
    let arena = process.arena;
    let mut list = List::new(arena);
    let argc = process.block.layout().argc;
    (0..argc).try_for_each(|index| list.push(process.block.argument_address(index)))?;
    if argc == 0 {
        let program = arena.concat(&[process.sealed.namespace.module(0).path, b"\0"])?;
        list.extend(&[path, b"--\0", program].map(|text| RuntimeAddr::of(text.as_ptr()).0))?;
    }
    list.push(0)?;
    Ok(list)
}
