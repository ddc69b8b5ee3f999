//! The loader executed as a program: it maps the program that its command line names, and turns the block into the one
//! that the kernel would have made for that program.

use linux_raw_sys::auxvec;
use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::base::arena::Arena;
use rtld::base::limits::PATH_MAX;
use rtld::error::{Error, Failure, OfObject, OpenError, Problem};
use rtld::link::file::{Mapped, map_program};
use rtld::link::load::{Present, present, require_no_stray_note};
use rtld::link::namespace::Module;
use rtld::link::search::ProgramPath;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{FileInfo, Files, Image};
use rtld::os::sys::{self, File, Linux};
use rtld::start::command_line::{CommandLine, HELP, Handed, Mistake, RunRequest, Until, parse};
use rtld::start::installed::SONAME;
use rtld::words;

use crate::run::cpu::calls;
use crate::run::kernel::{Block, own_header};
use crate::run::last_words::{REFUSED, say};
use crate::run::{inspect, kernel};

/// A program to run, mapped, with the circumstances of its start.
pub(crate) struct ProgramToRun {
    pub(crate) program: &'static mut Module<'static, MappedImage>,
    /// Its absolute path, as far as /proc shows it; unknown if AT_SECURE is set.
    pub(crate) path: ProgramPath<'static>,
    /// Value of `--library-path`.
    pub(crate) library_path: Option<&'static [u8]>,
    /// Path by which the loader itself was executed.
    pub(crate) loader: Option<&'static [u8]>,
    /// The last step to take.
    pub(crate) until: Until,
    /// Whether it is only mapped, and entered as by the kernel ([`Mapped::is_self_contained`]).
    pub(crate) alone: bool,
}

/// Acts on the loader's command line. Returns only if that asks for a program to be loaded.
#[inline(never)]
pub(crate) fn run_command_line(
    block: &mut Block,
    arena: &'static Arena,
    secure: bool,
) -> Result<ProgramToRun, Error<'static>> {
    let run = match parse(block.arguments(), block.auxiliary().handler()) {
        Ok(CommandLine::RunRequest(run)) => run,
        Ok(CommandLine::Help) => inspect::print(HELP),
        Ok(CommandLine::Version) => inspect::print(concat!("slulrtld ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(mistake) => refuse(mistake),
    };
    let RunRequest { program: index, handed, dropped, library_path, argv0, until } = run;
    let path = block.arguments().nth(index).unwrap_or_default();
    let (mut file, mut info) = open(block, path, handed, secure).of(path)?;
    // A file that the kernel has executed was checked by it.
    let is_by_user = matches!(handed, Some(Handed::ByUser(_)));
    if is_by_user || until == Until::Ended && handed.is_none() {
        kernel::may_execute(&file).map_err(Problem::Execute).of(path)?;
    }
    sys::skip_line(&mut file, &mut info);
    let mapped = map_program(&Linux, arena, &file, &info, block.auxiliary().page_size()).of(path)?;
    // What the kernel hands over is meant for this loader.
    let by_kernel = matches!(handed, Some(Handed::ByKernel(_)));
    let mut alone = !by_kernel && mapped.is_self_contained().of(path)?;
    let Mapped { dynamic, mut image, entry, headers } = mapped;
    let soname = dynamic.soname.and_then(|offset| dynamic.strings.get(&image, offset).ok());
    if soname == Some(SONAME) && until == Until::Ended {
        return Err(Problem::LoaderItself).of(path);
    }
    let bias = image.bias();
    let phdr = image.plan().vaddr_of(headers.phoff).ok_or(Problem::LoadBias).of(path)?;
    let mut buffer = [0u8; PATH_MAX];
    let absolute = match sys::file_path(&file, &mut buffer) {
        // NUL-terminated, because AT_EXECFN may point at it.
        Some(absolute) => Some(arena.concat(&[absolute, b"\0"]).of(path)?),
        None => None,
    };
    // Where the kernel started the loader in the program's place (binfmt_misc), AT_EXECFN is the program's path.
    let own = if block.exec_path() == path { block.arguments().next() } else { Some(block.exec_path()) };
    let name = match (handed, absolute) {
        (Some(Handed::ByProgram(_)), Some(absolute)) => from_usize(absolute.as_ptr().expose_provenance()),
        _ => block.argument_address(index),
    };
    block.drop_arguments(dropped, block.argument_address(argv0));
    block.remove_entry(auxvec::AT_EXECFD);
    block.patch(&[
        (auxvec::AT_PHDR, bias.runtime(phdr).0),
        (auxvec::AT_PHNUM, headers.phnum.into()),
        (auxvec::AT_ENTRY, bias.runtime(entry).0),
        (auxvec::AT_BASE, RuntimeAddr::of(own_header().as_ptr()).0),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_EXECFN, name),
    ]);
    let interpreter = block.interpreter(&image);
    alone &= interpreter.is_none();
    if until == Until::Ended {
        if let Some(other) = interpreter.filter(|path| !path.ends_with(SONAME)) {
            return Err(Problem::OtherLoader(arena.copy(other).of(path)?)).of(path);
        }
        sys::set_name(block.exec_path());
    }
    if alone {
        // The kernel's own value where there is no interpreter: musl's start takes any other for its own address.
        block.patch(&[(auxvec::AT_BASE, 0)]);
        image.map_only();
    }
    let absolute =
        absolute.and_then(|path| path.strip_suffix(b"\0")).or_else(|| path.contains(&b'/').then_some(path));
    // The string is the program's to write over, and is read again.
    let library_path = library_path.map(|list| arena.copy(list)).transpose().of(path)?;
    let program = present(arena, Present { path, image, phdrs: Some((phdr, headers.phnum)) })?;
    if !alone {
        require_no_stray_note(program).of(program.path)?;
    }
    let absolute = ProgramPath::Known(absolute.filter(|_| !secure));
    Ok(ProgramToRun { program, path: absolute, library_path, loader: own, until, alone })
}

/// Opens the program, or takes over its descriptor. Refuses a program that must not run with the privileges of the
/// process.
fn open(
    block: &Block,
    path: &[u8],
    handed: Option<Handed>,
    secure: bool,
) -> Result<(File, FileInfo), Failure<'static>> {
    let (by_kernel, descriptor) = match handed {
        // With privileges, a user of the loader would have them for any program of his choice.
        None | Some(Handed::ByUser(_)) if secure => return Err(Problem::ExecutedSecurely.into()),
        None => return Ok(Linux.open(path)?),
        Some(Handed::ByUser(descriptor)) => {
            return sys::handed_over(descriptor).map_err(|error| match error {
                OpenError::Errno(errno) | OpenError::Stat(errno) => Problem::Execute(errno).into(),
                OpenError::NotRegular => Problem::NotRegular.into(),
            });
        }
        Some(Handed::ByProgram(descriptor)) => (false, descriptor),
        Some(Handed::ByKernel(descriptor)) => (true, descriptor),
    };
    let (file, info) = sys::handed_over(descriptor)?;
    if secure {
        // The privileges must be those that the kernel gives to any process that executes this very file. Only the
        // kernel knows a file's capabilities.
        let explained = block.auxiliary().ids().is_some_and(|(user, group)| {
            let differ = user.0 != user.1 || group.0 != group.1;
            (differ || by_kernel) && sys::explains_ids(&file, user, group)
        });
        if !explained {
            return Err(Problem::ExecutedSecurely.into());
        }
    }
    Ok((file, info))
}

fn refuse(mistake: Mistake<'_>) -> ! {
    match mistake {
        Mistake::NoProgram => say(words!("no program is named; see --help")),
        Mistake::Unknown(option) => say(words!("{}: no such option; see --help", option)),
        Mistake::NoDescriptor(value) => say(words!("--exec-fd: {} is no descriptor; see --help", value)),
        Mistake::NoValue(option) => say(words!("{}: takes a value; see --help", option)),
    }
    calls::exit_group(REFUSED)
}
