//! `slulrtld-using-libc`, the other program that can run the program, where the environment forbids bogomapping.
//!
//! # Safety
//! This file exists because that program is executed, with lists of addresses as its arguments.
#![allow(unsafe_code)]

use abi::libcs::PASSED;
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

/// The environment. What would make ld.so do something else than start that program is passed on under another name.
fn variables(process: &Process) -> Result<&'static [u64], OutOfMemory> {
    let (layout, words) = (process.block.layout(), process.block.words());
    let list = process.arena.slice(layout.auxv.wrapping_sub(layout.envp), 0)?;
    for (place, &address) in list.iter_mut().zip(layout.environment(words)) {
        *place = address;
        if is_variable(address, is_masked_variable) {
            let passed = process.arena.concat(&[PASSED, text(address), b"\0"])?;
            *place = RuntimeAddr::of(passed.as_ptr()).0;
        }
    }
    Ok(list)
}

/// The command line: the program's path as it was started, and its own argv.
fn arguments(process: &Process, path: &[u8]) -> Result<List<'static, u64>, OutOfMemory> {
    let arena = process.arena;
    let string = |text: &[u8]| Ok(RuntimeAddr::of(arena.concat(&[text, b"\0"])?.as_ptr()).0);
    let mut list = List::new(arena);
    list.push(RuntimeAddr::of(path.as_ptr()).0)?;
    if let Some(library_path) = process.settings.library_path {
        list.extend(&[string(b"--library-path")?, string(library_path)?])?;
    }
    let argc = process.block.layout().argc;
    if argc != 0 {
        list.extend(&[string(b"--argv0")?, process.block.argument_address(0)])?;
    }
    list.extend(&[string(b"--")?, string(process.sealed.namespace.module(0).path)?])?;
    (1..argc).try_for_each(|index| list.push(process.block.argument_address(index)))?;
    list.push(0)?;
    Ok(list)
}
