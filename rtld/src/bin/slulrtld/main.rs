//! slulrtld: the PT_INTERP program.
//!
//! Everything that can be computed as a value is in the library. The folders beside this file, and `run`, contain what
//! only a starting process can do. The way of a start:
//!
//! ```text
//! _start               cpu/<cpu>/start.rs        the kernel's entry
//!   plain start        early/plain.rs            enters the program at once
//!   deferred start     early/deferred.rs         prepares the program; the first native call: early/late.rs
//!   plain start, rt0   early/handed.rs           maps the program, and enters it at once
//!   bootstrap          early/bootstrap.rs        relocates the loader itself
//!   slul_main          here                      calls the next two
//!   load               run/begin.rs              secure, settings; load, relocate, seal; thread pointer
//!   begin              run/begin.rs              initialisers, then the program
//! first native call    run/cpu/<cpu>/stubs.rs -> run/first_call.rs -> platform/bogomap.rs
//! ```
#![no_std]
#![no_main]

mod cpu;
mod early;
mod platform;
#[path = "../../run/mod.rs"]
mod run;

use core::ptr;

use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::base::arena::OutOfMemory;
use rtld::error::{Errno, Error, OfObject, Problem};
use rtld::os::sys;

use crate::cpu::ops::call_on_stack;
use crate::platform::block::open_standard;
use crate::platform::libc_stack::{StackLimit, stack_limit};
use crate::run::begin::{self, When, begin};
use crate::run::kernel::Block;
use crate::run::last_words::refuse;
use crate::run::process::Process;

/// The note that identifies the loader in its file.
#[allow(unsafe_code)]
// SAFETY: the linker makes a PT_NOTE of it.
#[unsafe(link_section = ".note.slul")]
#[used]
static NOTE: abi::note::LoaderNote = abi::note::LoaderNote::new();

/// The full start: everything but the plain starts.
///
/// # Safety
/// `sp` is the stack pointer that the kernel set, `own_entry` the address of `_start`. The loader is relocated. Called
/// once.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_main(sp: usize, own_entry: usize) -> ! {
    // SAFETY: by the caller.
    let block = unsafe { Block::at(sp) };
    let process = load(block, RuntimeAddr(from_usize(own_entry))).unwrap_or_else(|error| refuse(&error));
    open_standard(process.secure).of(b"/dev/null").unwrap_or_else(|error| refuse(&error));
    begin(process)
}

/// Ends the process: a program that is otherwise ready could not be sealed.
///
/// # Safety
/// `sp` is the stack pointer as the kernel left it; the loader is relocated.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_unsealed(sp: usize) -> ! {
    // SAFETY: by the caller.
    let block = unsafe { Block::at(sp) };
    refuse(&Error::new(block.exec_path(), Problem::Protect(Errno::ENOMEM)))
}

/// Calls [`begin::load`], on a stack of the loader's own if RLIMIT_STACK may leave less than that needs.
#[allow(unsafe_code)]
fn load(block: Block, own_entry: RuntimeAddr) -> Result<&'static Process, Error<'static>> {
    /// Bytes of RLIMIT_STACK from which the program's stack is enough.
    const ENOUGH: u64 = 1 << 20;
    const OWN: usize = 256 << 10;
    type Outcome = Result<&'static Process, Error<'static>>;
    struct Job {
        block: Option<Block>,
        own_entry: RuntimeAddr,
        result: Option<Outcome>,
    }
    extern "C" fn run(job: usize) {
        let job: *mut Job = ptr::with_exposed_provenance_mut(job);
        // SAFETY: `job` below, which is not used otherwise while this runs.
        let job = unsafe { &mut *job };
        job.result = job.block.take().map(|block| begin::load(block, When::First, job.own_entry));
    }
    if matches!(stack_limit(), StackLimit::Unlimited | StackLimit::Bytes(ENOUGH..)) {
        return begin::load(block, When::First, own_entry);
    }
    let path = block.exec_path();
    let stack = sys::anonymous(OWN).ok_or(OutOfMemory(OWN)).of(path)?;
    let top = RuntimeAddr::of(stack.cast::<u8>().as_ptr()).0.wrapping_add(from_usize(stack.len()));
    let mut job = Job { block: Some(block), own_entry, result: None };
    // SAFETY: fresh memory, whose end is a multiple of a page.
    unsafe { call_on_stack(top, run, (&raw mut job).expose_provenance()) };
    // SAFETY: `run` has returned, and nothing refers to its stack.
    unsafe { sys::give_back(stack) };
    job.result.unwrap_or_else(|| Err(OutOfMemory(OWN)).of(path))
}
