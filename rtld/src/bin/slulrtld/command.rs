//! The loader executed as a program: it maps the program that its command line names, and makes of the block what the
//! kernel would have made for that program.

use linux_raw_sys::auxvec;
use rtld::addr::RuntimeAddr;
use rtld::arena::Arena;
use rtld::command_line::{HELP, Mistake, Request, Run, Until, parse};
use rtld::error::{Error, Escaped, OfObject, Problem};
use rtld::load::{Mapped, Present, map_program};
use rtld::mapped::MappedImage;
use rtld::seam::{Files, Image};
use rtld::sys::{self, Linux};

use super::kernel::Block;
use super::{inspect, start};

/// A program that was mapped here.
pub(crate) struct Direct {
    pub(crate) program: Present<'static, MappedImage>,
    /// Its absolute path, as far as /proc tells.
    pub(crate) path: Option<&'static [u8]>,
    /// Value of `--library-path`.
    pub(crate) library_path: Option<&'static [u8]>,
    /// Path that the loader itself was executed by.
    pub(crate) loader: Option<&'static [u8]>,
    /// How far to go with it.
    pub(crate) until: Until,
}

/// Does what the command line asks for. Returns only if that is to run a program.
#[inline(never)]
pub(crate) fn obey(block: &mut Block, arena: &'static Arena) -> Result<Direct, Error<'static>> {
    let run = match parse(block.arguments()) {
        Ok(Request::Run(run)) => run,
        Ok(Request::Help) => inspect::print(format_args!("{HELP}")),
        Ok(Request::Version) => inspect::print(format_args!("slulrtld {}\n", env!("CARGO_PKG_VERSION"))),
        Err(mistake) => refuse(mistake),
    };
    let loader = Some(block.exec_path());
    let Run { program: index, library_path, argv0, until } = run;
    let path = block.arguments().nth(index).unwrap_or_default();
    if block.auxiliary().is_secure() {
        // Whoever may run the loader with such privileges would have them for any program of his choice.
        return Err(Problem::ExecutedSecurely).of(path);
    }
    let (file, info) = Linux.open(path).of(path)?;
    if until == Until::Ended {
        sys::may_execute(path).map_err(Problem::Execute).of(path)?;
    }
    let Mapped { dynamic, image, entry, headers } =
        map_program(&Linux, &file, &info, block.auxiliary().page_size()).of(path)?;
    let soname = dynamic.soname.and_then(|offset| dynamic.strings.get(&image, offset).ok());
    if soname == Some(start::SONAME) && until == Until::Ended {
        return Err(Problem::LoaderItself).of(path);
    }
    let bias = image.bias();
    let phdr = image.plan().vaddr_of(headers.phoff).ok_or(Problem::LoadBias).of(path)?;
    let mut buffer = [0u8; 4096];
    let absolute = match sys::file_path(&file, &mut buffer) {
        Some(absolute) => Some(arena.copy(absolute).of(path)?),
        None => path.contains(&b'/').then_some(path),
    };
    let name = block.argument_address(index);
    let first = argv0.map_or(name, |index| block.argument_address(index));
    block.drop_arguments(index, first);
    block.patch(&[
        (auxvec::AT_PHDR, bias.runtime(phdr).0),
        (auxvec::AT_PHNUM, headers.phnum.into()),
        (auxvec::AT_ENTRY, bias.runtime(entry).0),
        (auxvec::AT_BASE, RuntimeAddr::of(start::own_header().as_ptr()).0),
        (auxvec::AT_EXECFN, name),
    ]);
    let program = Present { path, image, phdrs: Some((phdr, headers.phnum)) };
    Ok(Direct { program, path: absolute, library_path, loader, until })
}

fn refuse(mistake: Mistake<'_>) -> ! {
    match mistake {
        Mistake::NoProgram => super::say(format_args!("no program is named; see --help")),
        Mistake::Unknown(option) => super::say(format_args!("{}: no such option; see --help", Escaped(option))),
        Mistake::NoValue(option) => super::say(format_args!("{}: takes a value; see --help", Escaped(option))),
    }
    start::exit_group(super::REFUSED)
}
