//! What a program's `platform` offers to `run`: the one list of it, checked by the compiler in both programs.
//!
//! A platform is what the loader stands on: the kernel (`bin/slulrtld/platform`) or a libc that has started
//! (`using-libc/src/platform`). Each item is in a file of its own layer, so that code of `run` depends on just the part
//! that it uses: a low one, such as `presence`, or the whole way of bringing libc in, such as `ensure_libc`.
#![forbid(unsafe_code)]

use rtld::base::addr::PageSize;
use rtld::base::arena::Arena;
use rtld::error::{Error, Failure, Problem};
use rtld::link::load::Present;
use rtld::os::mapped::MappedImage;

use crate::platform::gap::Gap;
use crate::platform::thread_local::ThreadLocal;
use crate::platform::{self, exporter, finalisers, image, main_thread, other, presence};
use crate::run::kernel::{Block, StackLimit};
use crate::run::process::Process;

type Done = Result<(), Error<'static>>;
type Leave = fn(&Block, PageSize, StackLimit) -> Result<(Gap, u64), Failure<'static>>;
type Exporter = fn(&'static Arena, &'static [u8]) -> Result<Present<'static, MappedImage>, Failure<'static>>;

/// Whether libc takes the program for what it was started with, and so knows its unwind tables.
const _: bool = image::LIBC_KNOWS_PROGRAM;

/// Whether words that refer to native functions wait for their first call, in stubs.
const _: bool = image::WORDS_WAIT;

/// Makes what was relocated of the loader itself read-only.
const _: fn() -> Result<(), Problem<'static>> = image::seal_own;

/// The object that defines what programs import from the loader; the path is what to call it.
const _: Exporter = exporter::exporter;

/// Leaves stack free for libc where it needs that; answers the address of the program's block, too.
const _: Leave = Gap::leave;

/// Makes the main thread's thread-local storage, and sets [`Process::thread_local`].
const _: fn(&mut Process) -> Result<(), Failure<'static>> = main_thread::set_up;

/// Size of the main thread's block in bytes.
const _: fn(&ThreadLocal) -> usize = |block| block.size;

/// Has another program do all of it, where the settings ask for that; returns if there is none.
const _: fn(&Process) -> Done = other::leave_to_other;

/// 0 libc is absent, 1 it is being brought in, 2 it is present: the answer of `slul_libc_state`.
const _: fn() -> i32 = presence::state;

/// Whether there is a libc to leave the process by.
const _: fn() -> bool = presence::is_bound;

/// Whether libc is to come before anything of the program runs.
const _: fn(&Process) -> bool = platform::comes_first;

/// Brings libc in, once; whoever comes meanwhile waits.
const _: fn(&'static Process) -> Done = platform::ensure_libc;

/// [`platform::ensure_libc`]; if nothing else tells which libc, native libraries of these names do.
const _: fn(&'static Process, &[&[u8]]) -> Done = platform::ensure_libc_for;

/// Called when the initialisers of libraries have run, and the program's are next.
const _: fn() = finalisers::libraries_are_ready;
