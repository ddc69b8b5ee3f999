//! Keeps for libc what the program may change before it comes.
#![forbid(unsafe_code)]

use libc_template::is_start_variable;
use rtld::base::arena::List;
use rtld::base::limits::{NAME_MAX, PATH_MAX};
use rtld::error::Failure;
use rtld::link::search::{ProgramPath, is_relative, mentions_origin};
use rtld::native::directory::{
    LIBRARY_PATH, NEEDED, SEARCH_PATH, absolute_variable, can_be_listed, is_relative_variable,
};

use crate::platform::bogomap::comes_first;
use crate::platform::root;
use crate::run::kernel::current_directory;
use crate::run::process::Process;

/// Keeps what the start has, before anything of the program runs. A secure process has no variables that libc reads
/// when it starts, and follows no path that depends on the current directory.
///
/// # Errors
/// The arena has no memory left; an object has a broken string table.
#[inline(never)]
pub(crate) fn keep(process: &mut Process) -> Result<(), Failure<'static>> {
    if comes_first(process) {
        return Ok(());
    }
    process.kept.variables = Some(&[]);
    if !process.secure {
        keep_paths(process)?;
    }
    match root::now() {
        Ok(root) => process.kept.root = Some(root),
        Err(_) => process.kept.at_once = true,
    }
    Ok(())
}

/// Keeps variables, and the directory from which paths of theirs and of the objects are followed.
fn keep_paths(process: &mut Process) -> Result<(), Failure<'static>> {
    let arena = process.arena;
    // Length of the longest text with a path that depends on the directory.
    let mut longest = 0;
    let mut note = |relative: bool, text: &[u8]| {
        if relative {
            longest = longest.max(text.len().saturating_add(1));
        }
    };
    let mut variables = List::<(usize, &'static [u8])>::new(arena);
    for (index, variable) in process.block.environment().enumerate() {
        if is_start_variable(variable) {
            note(is_relative_variable(variable), variable);
            variables.push((index, variable))?;
        }
    }
    // Of the command line, or one of these variables.
    let library_path = process.settings.library_path.unwrap_or_default();
    note(LIBRARY_PATH.is_relative(library_path), library_path);
    for name in process.sealed.natives.libraries.iter() {
        note(NEEDED.is_relative(name), name);
    }
    for (index, module) in process.sealed.namespace.loaded() {
        let Some(offset) = module.dynamic.runpath.or(module.dynamic.rpath) else { continue };
        let list = module.dynamic.strings.get(&module.image, offset)?;
        note(SEARCH_PATH.is_relative(list), list);
        if mentions_origin(list) {
            if index == 0 {
                // The program's file may be moved.
                process.program_path = ProgramPath::Known(process.program_path.get(arena)?);
            } else {
                note(is_relative(module.path), module.path);
            }
        }
    }
    if longest != 0 {
        let most = PATH_MAX.saturating_sub(NAME_MAX).saturating_sub(longest);
        let directory = current_directory(arena)?;
        process.kept.directory = directory.filter(|path| can_be_listed(path) && path.len() < most);
        process.kept.at_once = process.kept.directory.is_none();
    }
    if let Some(directory) = process.kept.directory {
        process.sealed.natives.place_below(directory)?;
        // Both worlds search the same directories, whenever.
        if !library_path.is_empty() {
            let list = LIBRARY_PATH.absolute(arena, b"", library_path, directory)?;
            process.settings.library_path = Some(list);
        }
    }
    for (_, variable) in variables.iter_mut() {
        *variable = absolute_variable(arena, variable, process.kept.directory)?;
    }
    process.kept.variables = Some(arena.copy(&variables)?);
    Ok(())
}
