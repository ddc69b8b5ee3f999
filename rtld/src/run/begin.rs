//! The full start, up to the program's entry: all objects are loaded, relocated and sealed; stack, thread-local storage
//! and tables are prepared; initialisers run; then the program is entered.
//!
//! # Safety
//! This file exists because initialisers and the program itself are entered by address.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::{iter, ptr, slice};

use linux_raw_sys::auxvec;
use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::base::hash::Key;
use rtld::base::report::Category;
use rtld::elf::plan::Protection;
use rtld::error::{Error, Failure, OWN, OfObject, Problem};
use rtld::link::load::{Loaded, Request, load as load_all, present};
use rtld::link::namespace::Module;
use rtld::link::reloc::{LoaderCode, SpecialReferences};
use rtld::link::sealed::Sealed;
use rtld::os::mapped::MappedImage;
use rtld::os::sys::{self, Linux};
use rtld::start::command_line::Until;
use rtld::start::handoff::Layout;
use rtld::start::invocation::Settings;
use rtld::words;

use crate::platform;
use crate::platform::block::place_of_copy;
use crate::platform::image::LIBC_KNOWS_PROGRAM;
use crate::platform::{exporter, finalisers, image, keep, main_thread, other};
use crate::run::clock::clock;
use crate::run::code::{self, Arguments};
use crate::run::command::{self, ProgramToRun};
use crate::run::cpu::exports::slul_exit;
use crate::run::cpu::{calls, words};
use crate::run::kept::{KeptForLibc, LeftForLate};
use crate::run::kernel::{Block, own_header, random};
use crate::run::last_words::refuse;
use crate::run::native::binding;
use crate::run::native::missing::Start;
use crate::run::open::{debugger, opening, runtime};
use crate::run::process::{DONE, Process, STARTED, new_arena};
use crate::run::sync::process_id;
use crate::run::{cut, finish, inspect, started, thread, tls, trace};

/// When a full start is made.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// Before anything of the program runs.
    First,
    /// At the first native call: a deferred start has written the program's words, sealed its RELRO, and given it its copy of the
    /// block.
    Late(LeftForLate),
}

/// The key of tables by hash: random bytes or, without them, addresses of this process, which the author of an object
/// can not know.
fn key(block: &Block, path: &[u8]) -> Key {
    Key::new(random(block).unwrap_or([block.address(), RuntimeAddr::of(path.as_ptr()).0]))
}

/// The module that defines the loader's exports.
#[inline(never)]
fn loader_itself(
    arena: &'static Arena,
    path: &'static [u8],
) -> Result<&'static mut Module<'static, MappedImage>, Error<'static>> {
    present(arena, exporter::exporter(arena, path).of(path)?)
}

/// The settings of a start. A secure one obeys no variable. A start is deferred where no variable asks for anything; what the
/// program has made of its environment since then is not for the loader to obey.
fn settings(
    block: &Block,
    arena: &'static Arena,
    secure: bool,
    when: When,
) -> Result<Settings<'static>, OutOfMemory> {
    if secure {
        return Ok(Settings::default());
    }
    if let When::Late(LeftForLate { variable, .. }) = when {
        return Ok(Settings::from_environment(variable.into_iter().map(|(_, text)| text)));
    }
    let settings = Settings::from_environment(block.environment());
    // The program may write over its strings, and this one is read again.
    let library_path = settings.library_path.map(|list| arena.copy(list)).transpose()?;
    Ok(Settings { library_path, ..settings })
}

/// Loads, relocates and seals the program and its needs. No code of any of them has run when this returns, but for a program whose
/// start was deferred.
pub(crate) fn load(
    mut block: Block,
    when: When,
    own_entry: RuntimeAddr,
) -> Result<&'static Process, Error<'static>> {
    let secure = block.auxiliary().is_secure();
    if secure {
        block.remove_variables(rtld::start::handoff::is_unsafe_variable);
    }
    let arena = new_arena().of(block.exec_path())?;
    let is_late = matches!(when, When::Late(..));
    let name = arena.put(block.exec_path()).of(block.exec_path())?;
    let watch = if is_late { cut::Watch::NONE } else { cut::watch(name) };
    let itself = block.auxiliary().entry() == Some(own_entry);
    let direct = if itself { Some(command::run_command_line(&mut block, arena, secure)?) } else { None };
    let path = block.exec_path();
    let settings = settings(&block, arena, secure, when).of(path)?;
    let trace = trace::set_up(&settings, arena);
    let (began, page) = (clock(trace), block.auxiliary().page_size());
    let ProgramToRun { program, path: program_path, library_path, loader, until, alone } = match direct {
        Some(direct) => direct,
        None => started::program_to_run(&block, arena, secure, &settings, is_late)?,
    };
    let settings = settings.searching(library_path);
    let own_path = arena.copy(loader.or_else(|| block.interpreter(&program.image)).unwrap_or(OWN)).of(path)?;
    let request = Request {
        program,
        loader: loader_itself(arena, own_path)?,
        library_path: settings.library_path,
        program_path,
        secure,
        page,
        key: key(&block, own_path),
        trace,
    };
    if settings.show_auxv && LIBC_KNOWS_PROGRAM {
        inspect::show_auxv(&block)?;
    }
    let loaded = load_all(&Linux, arena, request)?;
    let start = Start { arena, block: &block, settings, variables: None, program_path, secure, page, trace };
    if until == Until::Loaded || settings.list {
        inspect::list(&loaded, &start);
    }
    let code = words::code(until != Until::Relocated && !settings.bind_now);
    let sealed = if is_late { loaded.adopt(code)?.sealed()? } else { relocate_and_seal(loaded, code)? };
    let entry = started::entry(&block, sealed.namespace.module(0), itself).of(path);
    if until == Until::Relocated && (entry.is_ok() || started::is_library(&block, &sealed)) {
        inspect::verified(&sealed, &start)?;
    }
    let process = Process {
        arena,
        trace,
        settings,
        secure,
        code,
        page,
        program_path: program_path.later(),
        sealed,
        program_block: block.address(),
        apart: None,
        kept: KeptForLibc::NOTHING,
        thread_local: None,
        entry: entry?,
        alone,
        initialised: AtomicUsize::new(0),
        auxv: block.copy_auxv(arena).of(path)?,
        block,
        watch,
        began,
    };
    if process.settings.never_bogomap && process.may_want_libc() {
        other::leave_to_other(&process)?;
    }
    let process = prepare(process, when).of(path)?;
    image::seal_own().of(own_path).map(|()| process)
}

/// Writes every relocated word, then makes RELRO read-only.
fn relocate_and_seal(
    loaded: Loaded<'static, MappedImage>,
    code: LoaderCode,
) -> Result<Sealed<'static, MappedImage>, Error<'static>> {
    let mut relocated = loaded.relocate(code)?;
    if relocated.link_map_changes() {
        relocated.set_debug(debugger::address());
    }
    relocated.seal(&Linux)
}

/// Prepares the program's stack, thread-local storage and the tables of native symbols; then publishes the process.
fn prepare(mut process: Process, when: When) -> Result<&'static Process, Failure<'static>> {
    if process.wants_executable_stack() {
        // The kernel has done that already if it was the program that was executed, and not the loader.
        // SAFETY: the block is at the end of the stack.
        let made = unsafe { sys::make_stack_executable(RuntimeAddr(process.block.address())) };
        made.map_err(Problem::Protect)?;
    }
    let natives = &process.sealed.natives;
    if process.may_want_libc() {
        // Packers may drop it. The program's start has not depended on it.
        process.block.supply(auxvec::AT_BASE, RuntimeAddr::of(own_header().as_ptr()).0);
        if let Some(key) = process.block.auxiliary().missing_for_libc() {
            return Err(Problem::Auxiliary(key.into()).into());
        }
        binding::set_up(process.arena, natives.imports.len(), process.page)?;
        let (copy, id) = match when {
            When::First => (place_of_copy(&process.block, process.page)?, process_id()),
            When::Late(LeftForLate { copy, id, root, variable }) => {
                let variables = process.arena.copy(variable.as_slice())?;
                process.kept =
                    KeptForLibc { variables: Some(variables), root: Some(root), ..KeptForLibc::NOTHING };
                (copy, id)
            }
        };
        process.program_block = copy;
        process.apart = Some(id);
        if let When::First = when {
            keep::keep(&mut process)?;
        }
    }
    if process.sealed.seen.opens {
        thread::make_room(&mut process.sealed.tls)?;
    }
    if process.sealed.tls.size() != 0 {
        let namespace = &process.sealed.namespace;
        let blocks = namespace.loaded().filter_map(|(_, module)| module.tls);
        tls::set_up(process.arena, namespace.bound(), blocks)?;
    }
    if process.has_thread_pointer() {
        main_thread::set_up(&mut process)?;
    }
    let process = process.publish()?;
    if let When::First = when {
        STARTED.store(DONE, Ordering::Release);
    }
    Ok(process)
}

/// Makes up for the beginning of a program that has begun without it. It has no initialisers.
pub(crate) fn begin_late(process: &Process) {
    process.initialised.store(process.sealed.init_order.len(), Ordering::Relaxed);
    finalisers::libraries_are_ready();
}

/// Runs the program, on its own stack.
pub(crate) fn begin(process: &'static Process) -> ! {
    if process.apart.is_none() {
        run(process)
    }
    let block = process.block.words();
    // SAFETY: the place of the copy is a multiple of 16, and nothing there or below is needed again. The copy ends below the
    // block, or is the block.
    unsafe { calls::switch_stack(process.program_block, block.as_ptr(), block.len(), begin_published) }
}

fn run(process: &'static Process) -> ! {
    let SpecialReferences { opens, lists, .. } = process.sealed.seen;
    if runtime::any(process) || debugger::is_program_hidden() {
        debugger::announce_own(process);
    }
    if opens || lists {
        let made = opening::set_up(process).of(process.sealed.namespace.module(0).path);
        made.unwrap_or_else(|error| refuse(&error));
    }
    let Layout { mut auxv, end, .. } = process.block.layout();
    if platform::comes_first(process) {
        process.watch.end();
        code::BEFORE_CONSTRUCTORS.store(before_constructors as *mut (), Ordering::Relaxed);
        platform::ensure_libc(process).unwrap_or_else(|error| refuse(&error));
        let behind = behind_variables(process);
        program_words(process).copy_within(auxv..end, behind);
        auxv = behind;
    }
    if !BEGUN_BY_LIBC.load(Ordering::Relaxed) {
        resolve_indirect(process).unwrap_or_else(|error| refuse(&error));
    }
    let program = process.sealed.namespace.module(0);
    let functions = initialisers(process).of(program.path).unwrap_or_else(|error| refuse(&error));
    process.watch.end();
    let all = process.sealed.init_order.len();
    let (libraries, own) = functions.split_at(functions.partition_point(|&(begun, _)| begun < all));
    initialise(process, libraries);
    finalisers::libraries_are_ready();
    initialise(process, own);
    process.initialised.store(all, Ordering::Relaxed);
    if process.trace.wants(Category::Timings) {
        let spent = clock(process.trace).saturating_sub(process.began);
        process.trace.line(Category::Timings, words!("entry after {} ns in the loader", spent));
    }
    if process.calls_entry() {
        call_entry(process, process.program_word(auxv))
    }
    let finaliser = if process.alone { None } else { Some(finish::finalise as extern "C" fn()) };
    // SAFETY: AT_ENTRY, with the program's block; nothing on this stack is needed again.
    unsafe { calls::transfer(process.entry.0, process.program_block, finaliser) }
}

/// Whether [`before_constructors`] was called.
static BEGUN_BY_LIBC: AtomicBool = AtomicBool::new(false);

/// Runs what comes before the constructors of native libraries where libc comes first: resolvers, and DT_PREINIT_ARRAY of the
/// program, as in an ordinary executable.
extern "C" fn before_constructors() {
    let Some(process) = Process::get() else { return };
    BEGUN_BY_LIBC.store(true, Ordering::Relaxed);
    resolve_indirect(process).unwrap_or_else(|error| refuse(&error));
    let program = process.sealed.namespace.module(0);
    code::initialise(code::preinitialisers(program), process.arguments());
}

/// Calls the resolvers (STT_GNU_IFUNC), those of dependencies first. All other words have their values by now, native
/// ones too if libc is loaded eagerly.
fn resolve_indirect(process: &Process) -> Result<(), Error<'static>> {
    let Sealed { namespace, indirect, init_order, .. } = &process.sealed;
    if indirect.is_empty() {
        return Ok(());
    }
    let questions = code::questions(process.arena, namespace, init_order, indirect)?;
    process.watch.end();
    code::protect_indirect(namespace, init_order, indirect, Protection::READ_WRITE)?;
    // SAFETY: writable, and never unmapped.
    unsafe { code::ask_all(&questions) };
    tls::complete(process, indirect.iter().map(|word| (word.module, word.at)));
    code::protect_indirect(namespace, init_order, indirect, Protection::READ)
}

/// The program's block, as it is now.
fn program_words(process: &Process) -> &'static mut [u64] {
    let place = ptr::with_exposed_provenance_mut(to_usize(process.program_block));
    // SAFETY: the program's copy has as many words as the block, and so has the block; nobody else uses it before the program.
    unsafe { slice::from_raw_parts_mut(place, process.block.layout().end) }
}

/// Where the auxiliary vector is to be in the program's block: behind the variables, of which native constructors may have
/// removed some.
fn behind_variables(process: &Process) -> usize {
    let Layout { envp, auxv, .. } = process.block.layout();
    let variables = program_words(process).get(envp..auxv).unwrap_or_default();
    variables.iter().position(|&word| word == 0).map_or(auxv, |count| envp.wrapping_add(count).wrapping_add(1))
}

fn initialise(process: &Process, calls: &[(usize, RuntimeAddr)]) {
    for &(begun, function) in calls {
        process.initialised.store(begun, Ordering::Relaxed);
        code::initialise(iter::once(function), process.arguments());
    }
}

/// The functions to call before the program, in order, each with the number of modules whose initialisers have begun by
/// then. They are read before any of them runs, while a file that is cut off is still noticed.
fn initialisers(process: &Process) -> Result<List<'static, (usize, RuntimeAddr)>, OutOfMemory> {
    let mut calls = List::new(process.arena);
    let namespace = &process.sealed.namespace;
    if !BEGUN_BY_LIBC.load(Ordering::Relaxed) {
        code::preinitialisers(namespace.module(0)).try_for_each(|function| calls.push((0, function)))?;
    }
    for (begun, &index) in (1usize..).zip(process.sealed.init_order) {
        let mut functions = code::initialisers(namespace.module(index));
        functions.try_for_each(|function| calls.push((begun, function)))?;
    }
    Ok(calls)
}

fn call_entry(process: &Process, auxv: u64) -> ! {
    let Arguments { argc, argv, envp } = process.arguments();
    let block = process.program_block;
    // SAFETY: AT_ENTRY is code, and the ABI note says that it is a function of these arguments; with the program's block, and
    // nothing on this stack is needed again.
    unsafe { calls::call_entry(argc, argv, envp, auxv, process.entry.0, block, slul_exit) }
}

/// Calls [`run`], once the stack is the program's.
extern "C" fn begin_published() -> ! {
    match Process::get() {
        Some(process) => run(process),
        None => calls::trap(),
    }
}
