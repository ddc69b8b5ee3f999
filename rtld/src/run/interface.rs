//! The interface that a program's `platform` offers to `run`: the one list of it, checked by the compiler in both
//! programs.
//!
//! A platform is the base of the loader: the kernel (`bin/slulrtld/platform`), or a libc that has started
//! (`using-libc/src/platform`). Each item is in a file of its own layer, so that code in `run` depends only on the part
//! that it uses: a low one, such as `presence`, or everything needed to bring libc in, such as `ensure_libc`.
#![forbid(unsafe_code)]

use core::ffi::{CStr, c_char};

use rtld::base::addr::PageSize;
use rtld::base::arena::Arena;
use rtld::error::{Error, Failure, Problem};
use rtld::link::load::Present;
use rtld::os::mapped::MappedImage;

use crate::platform::thread_local::ThreadLocal;
use crate::platform::{self, block, exporter, finalisers, image, keep, main_thread, next, other, presence};
use crate::run::kernel::Block;
use crate::run::process::Process;

type Done = Result<(), Error<'static>>;
type Place = fn(&Block, PageSize) -> Result<u64, Failure<'static>>;
type Exporter = fn(&'static Arena, &'static [u8]) -> Result<Present<'static, MappedImage>, Failure<'static>>;

/// Whether libc takes the program for the executable that was started, and so knows its unwind tables.
const _: bool = image::LIBC_KNOWS_PROGRAM;

/// Whether another process has this one's memory.
const _: fn() -> bool = image::shares_memory;

/// Makes the relocated data of the loader itself read-only.
const _: fn() -> Result<(), Problem<'static>> = image::seal_own;

/// The object that defines the loader's exports. The path is the one that messages show.
const _: Exporter = exporter::exporter;

/// Where the program is to have its block, if libc may come.
const _: Place = block::place_of_copy;

/// Keeps for libc what the program may change before it comes.
const _: fn(&mut Process) -> Result<(), Failure<'static>> = keep::keep;

/// Makes the full start of a process whose start was deferred, where starts are.
const _: extern "C" fn() = crate::early::late::slul_late_start;

/// Makes the main thread's thread-local storage, and sets [`Process::thread_local`].
const _: fn(&mut Process) -> Result<(), Failure<'static>> = main_thread::set_up;

/// Gives threads that libc makes later initial values at a distance from the thread pointer.
const _: fn(&Process, i64, &[u8]) -> Result<(), Failure<'static>> = main_thread::write_image;

/// Size of the main thread's block in bytes.
const _: fn(&ThreadLocal) -> usize = |block| block.size;

/// Replaces the process by the other program (`slulrtld-using-libc`), where the settings forbid bogomapping. Returns in
/// the program that has no other.
const _: fn(&Process) -> Done = other::leave_to_other;

/// State of libc, the answer of `slul_libc_state`: one of `abi::export::LIBC_*`.
const _: fn() -> i32 = presence::state;

/// Whether libc's functions are bound, so that its `exit` can be called.
const _: fn() -> bool = presence::is_bound;

/// Whether libc is brought in before anything of the program runs.
const _: fn(&Process) -> bool = platform::comes_first;

/// Brings libc in, once. Other threads that call this meanwhile wait.
const _: fn(&'static Process) -> Done = platform::ensure_libc;

/// Brings libc in like [`platform::ensure_libc`], for a call that the calling thread is about to make: it must be one of libc's.
const _: fn(&'static Process) -> Done = platform::ensure_callable;

/// Brings libc in like [`platform::ensure_libc`], for a caller that goes on without it: a native library that is missing is
/// an error. Native libraries of the given names are looked for, too, and decide which libc, if nothing else does.
const _: fn(&'static Process, &[&[u8]]) -> Done = platform::ensure_libc_for;

/// The definition of a name in libc's world, of that version if one is given, whatever this world defines; 0 if there is none.
const _: fn(&Process, *const c_char, Option<&CStr>) -> usize = next::next;

/// Called when the initialisers of all libraries have run, before those of the program.
const _: fn() = finalisers::libraries_are_ready;
