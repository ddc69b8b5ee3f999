//! The process from the full start on, as a value.
//!
//! # Safety
//! This file exists because the value is found through one pointer. The pointer is published once, when the value is
//! complete, before anything of the program runs, or at its first native call if its start was deferred.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use rtld::base::addr::{PageSize, RuntimeAddr, from_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::base::report::Trace;
use rtld::error::Failure;
use rtld::link::reloc::LoaderCode;
use rtld::link::sealed::Sealed;
use rtld::link::search::ProgramPath;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys;
use rtld::start::invocation::Settings;

use crate::platform::thread_local::ThreadLocal;
use crate::run::code::Arguments;
use crate::run::cut::Watch;
use crate::run::kept::KeptForLibc;
use crate::run::kernel::Block;

/// The state of the process: what the start found out, and where things are.
pub(crate) struct Process {
    pub(crate) arena: &'static Arena,
    pub(crate) trace: Trace,
    pub(crate) settings: Settings<'static>,
    pub(crate) secure: bool,
    pub(crate) page: PageSize,
    pub(crate) program_path: ProgramPath<'static>,
    pub(crate) sealed: Sealed<'static, MappedImage>,
    /// The kernel's block.
    pub(crate) block: Block,
    /// Address of the program's block: the kernel's own, or a copy.
    pub(crate) program_block: u64,
    /// Where libc may come, so that the program has a block of its own: the kernel's id of the process that was started. A
    /// child has another.
    pub(crate) apart: Option<u32>,
    /// What libc is to find of the start.
    pub(crate) kept: KeptForLibc,
    pub(crate) thread_local: Option<ThreadLocal>,
    /// Code of the loader to which relocated words refer.
    pub(crate) code: LoaderCode,
    /// The program's entry.
    pub(crate) entry: RuntimeAddr,
    /// Whether the program is only mapped: there is nothing to finalise.
    pub(crate) alone: bool,
    /// Number of modules of `sealed.init_order`, from the first on, whose initialisers have begun.
    pub(crate) initialised: AtomicUsize,
    /// The auxiliary vector as the kernel passed it.
    pub(crate) auxv: &'static [u64],
    /// The handler for files that are cut off; in place until code of an object runs.
    pub(crate) watch: Watch,
    /// Time when the start began, in nanoseconds, for the trace.
    pub(crate) began: u64,
}

/// A fresh arena, separate from all others, so that it can be given back as a whole.
pub(crate) fn new_arena() -> Result<&'static Arena, Failure<'static>> {
    const FIRST: usize = 64 << 10;
    let memory = sys::anonymous(FIRST).ok_or(OutOfMemory(FIRST))?;
    // SAFETY: fresh memory, with the properties that the source guarantees.
    let arena = unsafe { Arena::in_memory(memory, sys::MEMORY) };
    Ok(arena.ok_or(OutOfMemory(FIRST))?)
}

/// Whether there has been a full start: 0, [`DONE`], or, at the first native call of a process whose start was deferred, that
/// some thread is making it.
pub(crate) static STARTED: AtomicI32 = AtomicI32::new(0);

/// There has.
pub(crate) const DONE: i32 = -1;

#[cfg_attr(not(using_libc), unsafe(link_section = ".data.rel.ro.process"))]
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

impl Process {
    /// The process; `None` before it is published.
    pub(crate) fn get() -> Option<&'static Self> {
        // SAFETY: null, or put into the arena and complete before it was published; never changed after.
        unsafe { PROCESS.load(Ordering::Acquire).as_ref() }
    }

    /// Publishes the process, for good.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn publish(self) -> Result<&'static Self, OutOfMemory> {
        let process = self.arena.put(self)?;
        PROCESS.store(process, Ordering::Release);
        Ok(process)
    }

    /// Whether libc may be needed at any time.
    pub(crate) fn may_want_libc(&self) -> bool {
        self.sealed.natives.any() || self.sealed.seen.libc_wanted
    }

    /// Whether the program is to have an executable stack.
    pub(crate) fn wants_executable_stack(&self) -> bool {
        self.sealed.namespace.module(0).image.plan().executable_stack
    }

    /// Whether the main thread has a TCB.
    pub(crate) fn has_thread_pointer(&self) -> bool {
        self.sealed.seen.canary || self.sealed.tls.size() != 0
    }

    /// Whether the entry is a C function that the loader calls (ABI note, `CALL_ENTRY`), and not entered in the
    /// kernel's way.
    pub(crate) fn calls_entry(&self) -> bool {
        let program = self.sealed.namespace.module(0);
        program.note.map_or(program.dynamic.called, |note| note.flags & abi::note::FLAG_CALL_ENTRY != 0)
    }

    /// argc, argv and envp of the program's block.
    pub(crate) fn arguments(&self) -> Arguments {
        let layout = self.block.layout();
        Arguments {
            argc: from_usize(layout.argc),
            argv: self.program_word(1),
            envp: self.program_word(layout.envp),
        }
    }

    /// Address of word `index` of the program's block.
    pub(crate) fn program_word(&self, index: usize) -> u64 {
        self.program_block.wrapping_add(from_usize(index).wrapping_mul(8))
    }

    /// The value of the entry `key` in the kernel's auxiliary vector; 0 without one.
    pub(crate) fn auxiliary(&self, key: u64) -> u64 {
        let mut pairs = self.auxv.chunks_exact(2);
        let found = pairs.find(|pair| pair.first() == Some(&key) && key != 0);
        found.and_then(|pair| pair.get(1)).copied().unwrap_or(0)
    }
}
